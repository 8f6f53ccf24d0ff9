"""A sealed state opens where it should, until it expires, and once; anything else is refused, in the same words."""

import base64
import json
import math
import os
import subprocess
import sys
import zlib

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks import seal as module
from mcp_tasks.clock import Clock
from mcp_tasks.errors import InvalidParams, LimitReached
from mcp_tasks.seal import Bound, InvalidState, StateSeal

requirement = pytest.mark.requirement

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
CALL = Bound("ann", "tools/call", {"name": "book", "arguments": {"from": "Oslo", "seats": 1}})
PAYLOAD = {"answers": {"name": {"action": "accept"}}, "round": 1}


class SetClock(Clock):
    """A clock that stands still, so that tests without a trio run can have one."""

    def __init__(self, time: float = 1000.0) -> None:
        super().__init__()
        self.time = time

    def now(self) -> float:
        return self.time


def make(*keys: bytes, clock: Clock | None = None, **options: object) -> StateSeal:
    return StateSeal(keys or [KEY], clock=clock or SetClock(), **options)


def to_raw(text: str) -> bytearray:
    return bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def refusal(seal: StateSeal, text: str, bound: Bound = CALL) -> InvalidState:
    with pytest.raises(InvalidState) as caught:
        seal.open(text, bound)
    return caught.value


def forge(data: bytes, *, compressed: bool, serial: bytes = b"s" * 16, key: bytes = KEY) -> str:
    """What only somebody with the key can make: a state that is authentic, with any payload at all."""
    body = module._BODY.pack(2000.0, *CALL._digests(), b"maker678", 1, compressed) + data
    head = module._HEAD.pack(module._VERSION, module._key_id(key), serial, b"n" * 12)
    return to_text(head + module._cipher(key, serial).encrypt(b"n" * 12, body, head))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)


# --- what was sealed opens --------------------------------------------------------------------------------------------


@requirement("C26-257")
@given(json_objects, json_objects, st.text(), st.text())
def test_what_was_sealed_opens_again(payload, params, principal, method):
    seal = make(ttl=60.0)
    bound = Bound(principal, method, params)
    opened = seal.open(seal.seal(payload, bound), bound)
    assert (opened.payload, opened.expires_at, len(opened.serial)) == (payload, 1060.0, 16)


@pytest.mark.parametrize("size", [0, 1, 1000, 1012, 1013, 5000, 1_000_000])
def test_long_payloads_are_compressed(size):
    seal = make()
    payload = {"text": ("the quick brown fox " * (size // 20 + 1))[:size]}
    text = seal.seal(payload, CALL)
    assert seal.open(text, CALL).payload == payload
    encoded = len(msgspec.json.encode(payload))
    if encoded > 1024:
        assert len(text) < encoded
    else:
        assert len(text) > encoded * 4 / 3


def test_what_does_not_get_shorter_is_left_alone():
    payload = {"text": "".join(chr(0x4E00 + i) for i in range(5000))}
    seal = make()
    text = seal.seal(payload, CALL)
    assert seal.open(text, CALL).payload == payload


def test_the_length_does_not_tell_a_right_guess_from_a_wrong_one():
    """Part of a payload is the client's own; a repetition of what it may not know must not make the text shorter."""
    secret = "correct horse battery staple"
    wrong = "".join(sorted(secret))
    payloads = [
        {"secret": secret, "answer": guess * 20, "filler": list(range(10**9, 10**9 + 100))} for guess in (secret, wrong)
    ]
    lengths = {len(make().seal(payload, CALL)) for payload in payloads}
    assert max(lengths) < len(msgspec.json.encode(payloads[0])), "it is compressed"
    assert len(lengths) == 1
    assert len(zlib.compress((secret + secret * 20).encode())) < len(zlib.compress((secret + wrong * 20).encode()))


def test_a_sealed_state_fits_into_a_url():
    text = make().seal({"text": "\u2028é/+?" * 1000}, CALL)
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in text)


def test_a_sealed_state_tells_nothing_and_is_never_the_same():
    seal = make()
    texts = {seal.seal(PAYLOAD, CALL) for _ in range(100)}
    assert len(texts) == 100
    assert len({seal.open(text, CALL).serial for text in texts}) == 100
    for text in texts:
        assert not any(word in to_raw(text) for word in (b"answers", b"ann", b"tools", b"Oslo", KEY))


def test_the_key_of_a_state_is_derived_as_the_library_would():
    hkdf = pytest.importorskip("cryptography.hazmat.primitives.kdf.hkdf")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256

    info = b"mcp_tasks state, AES-256-GCM\0" + b"s" * 16
    key = hkdf.HKDFExpand(SHA256(), 32, info).derive(KEY)
    sealed = module._cipher(KEY, b"s" * 16).encrypt(b"n" * 12, b"data", b"head")
    assert AESGCM(key).decrypt(b"n" * 12, sealed, b"head") == b"data"


def test_importing_the_package_does_not_import_the_ciphers():
    code = "import sys, mcp_tasks, mcp_tasks.seal; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# --- what was tampered with does not ----------------------------------------------------------------------------------


@requirement("C26-258", "C26-259", "C26-260")
def test_no_bit_of_the_text_can_be_flipped():
    seal = make()
    for payload in (PAYLOAD, {}, {"n": 10}):  # texts that end in all three ways
        text = seal.seal(payload, CALL)
        for position, char in enumerate(text):
            for bit in range(8):
                refusal(seal, text[:position] + chr(ord(char) ^ 1 << bit) + text[position + 1 :])
        assert seal.open(text, CALL).payload == payload


@requirement("C26-259")
def test_no_bit_of_what_the_text_stands_for_can_be_flipped():
    seal = make()
    raw = to_raw(seal.seal({"text": "x" * 2000}, CALL))
    for position in range(len(raw)):
        for bit in range(8):
            raw[position] ^= 1 << bit
            refusal(seal, to_text(raw))
            raw[position] ^= 1 << bit
    assert seal.open(to_text(raw), CALL)


@requirement("C26-260")
def test_nothing_can_be_cut_off_or_added():
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    for length in range(len(text)):
        refusal(seal, text[:length])
        refusal(seal, text[length + 1 :])
    for extra in ("A", "AAAA", "=", "==", "\n", " ", "é"):
        refusal(seal, text + extra)
        refusal(seal, extra + text)


@requirement("C26-258")
@given(st.text())
def test_what_was_made_up_is_refused(text):
    refusal(make(), text)


@given(st.binary(max_size=400))
def test_bytes_that_were_made_up_are_refused(raw):
    refusal(make(), to_text(module._VERSION + module._key_id(KEY) + raw))


@pytest.mark.parametrize("value", [None, 1, True, [], {}, b"AAAA"])
def test_what_is_no_text_is_refused(value):
    refusal(make(), value)


def test_parts_of_two_states_do_not_make_a_third():
    seal = make()
    one, other = to_raw(seal.seal({"n": 1}, CALL)), to_raw(seal.seal({"n": 2}, CALL))
    for cut in range(17, len(one) - 8):  # in the midst of what is random, so that neither remains as it was
        refusal(seal, to_text(one[:cut] + other[cut:]))


@requirement("C26-260")
def test_the_other_side_is_not_told_what_was_wrong():
    clock = SetClock()
    seal = make(clock=clock)
    text = seal.seal(PAYLOAD, CALL)
    opened = seal.open(text, CALL)
    refused = [
        refusal(seal, ""),
        refusal(seal, "?"),
        refusal(seal, "A" * 10),
        refusal(seal, "A" * 1000),
        refusal(seal, text[:-5] + "AAAAA"),
        refusal(seal, text, Bound("bob", CALL.method, CALL.params)),
        refusal(seal, text, Bound(CALL.principal, CALL.method, {})),
        refusal(make(OTHER_KEY), text),
    ]
    seal.claim(opened)
    with pytest.raises(InvalidState) as caught:
        seal.claim(opened)
    refused.append(caught.value)
    clock.time += 600
    refused.append(refusal(seal, text))
    assert len({refused.reason for refused in refused}) > 6
    assert {(str(refused), refused.message, refused.args, refused.data) for refused in refused} == {
        (message := "$.params.requestState: not a state of this request", message, (message,), refused[0].data)
    }
    assert all(isinstance(refused, InvalidParams) for refused in refused)


# --- whose, and which request -----------------------------------------------------------------------------------------


@requirement("C26-262")
@pytest.mark.parametrize("principal", ["bob", "", "ann ", "Ann", "ann\0", "an"])
def test_a_state_is_its_principals_alone(principal):
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    assert refusal(seal, text, Bound(principal, CALL.method, CALL.params)).reason == "belongs to somebody else"


@requirement("C26-262")
@pytest.mark.parametrize("method", ["prompts/get", "tools/call ", ""])
def test_a_state_is_of_one_method(method):
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    assert refusal(seal, text, Bound(CALL.principal, method, CALL.params)).reason == "belongs to another request"


ALL_DIFFERENT = [
    {},
    {"seats": 1},
    {"seats": 1.0},
    {"seats": "1"},
    {"seats": True},
    {"seats": [1]},
    {"seats": {"1": 1}},
    {"seats": None},
    {"seats": "null"},
    {"seats": 0},
    {"seats": ""},
    {"seats": -0.0},
    {"seats": 2**64},
    {"seats": 2**64 + 1},
    {"seats": [1, 2]},
    {"seats": [2, 1]},
    {"seats": 1, "more": None},
    {"Seats": 1},
    {"a": {"b": 1}},
    {"a": {}, "b": 1},
]


@requirement("C26-262")
@pytest.mark.parametrize("params", ALL_DIFFERENT, ids=repr)
def test_a_state_is_of_one_set_of_parameters(params):
    seal = make()
    text = seal.seal(PAYLOAD, Bound("ann", "tools/call", params))
    for other in ALL_DIFFERENT:
        bound = Bound("ann", "tools/call", other)
        if other is params:
            assert seal.open(text, bound).payload == PAYLOAD
        else:
            assert refusal(seal, text, bound).reason == "belongs to another request"


@given(json_objects, json_objects)
def test_other_parameters_are_refused_whatever_they_are(params, others):
    seal = make()
    text = seal.seal(PAYLOAD, Bound("ann", "tools/call", {"arguments": params}))
    bound = Bound("ann", "tools/call", {"arguments": others})
    if json.dumps(params, sort_keys=True) == json.dumps(others, sort_keys=True):
        seal.open(text, bound)
    else:
        refusal(seal, text, bound)


def test_the_order_of_members_does_not_matter():
    seal = make()
    text = seal.seal(PAYLOAD, Bound("ann", "tools/call", {"a": 1, "b": {"c": [{"d": 1, "e": 2}], "f": 3}}))
    assert seal.open(text, Bound("ann", "tools/call", {"b": {"f": 3, "c": [{"e": 2, "d": 1}]}, "a": 1}))


def test_what_differs_in_the_repetition_does_not_matter():
    seal = make()
    text = seal.seal(PAYLOAD, Bound("ann", "tools/call", {"name": "book", "_meta": {"progressToken": 1}}))
    again = {"name": "book", "_meta": {}, "inputResponses": {"name": {"action": "accept"}}, "requestState": text}
    assert seal.open(text, Bound("ann", "tools/call", again)).payload == PAYLOAD
    within = {"name": "book", "arguments": {"_meta": {}}}
    refusal(seal, text, Bound("ann", "tools/call", within))


def test_method_and_parameters_cannot_be_cut_in_another_place():
    seal = make()
    text = seal.seal(PAYLOAD, Bound("ann", 'a",{"b":1}', {}))
    refusal(seal, text, Bound("ann", "a", {"b": 1}))


def test_parameters_that_are_no_json():
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    for bound in (Bound("ann", "tools/call", {"a": "\ud800"}), Bound("\ud800", "tools/call", {})):
        refusal(seal, text, bound)
        with pytest.raises(ValueError, match="surrogates"):
            seal.seal(PAYLOAD, bound)
    with pytest.raises(TypeError):
        seal.seal({"what": object()}, CALL)


# --- until when -------------------------------------------------------------------------------------------------------


@requirement("C26-262")
def test_a_state_expires_at_the_very_moment():
    clock = SetClock(1000.0)
    seal = make(clock=clock, ttl=60.0)
    text = seal.seal(PAYLOAD, CALL)
    for time, good in [
        (1000.0, True),
        (math.nextafter(1060.0, 0), True),
        (1060.0, False),
        (math.nextafter(1060.0, 2000), False),
        (1e9, False),
    ]:
        clock.time = time
        if good:
            assert seal.open(text, CALL).expires_at == 1060
        else:
            assert refusal(seal, text).reason == "has expired"


@requirement("C26-262")
async def test_a_state_expires_on_trios_clock(autojump_clock):
    seal = StateSeal(ttl=60.0, clock=Clock(1000.0))
    text = seal.seal(PAYLOAD, CALL)
    await trio.sleep(59)
    opened = seal.open(text, CALL)
    await trio.sleep(1)
    refusal(seal, text)
    with pytest.raises(InvalidState):
        seal.claim(opened)


# --- once -------------------------------------------------------------------------------------------------------------


@requirement("C26-263")
def test_a_state_is_used_once():
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    first, second = seal.open(text, CALL), seal.open(text, CALL)
    seal.claim(first)
    for opened in (first, second):
        with pytest.raises(InvalidState) as caught:
            seal.claim(opened)
        assert caught.value.reason == "is being used"
    seal.spend(first)
    for opened in (first, second, seal.open(text, CALL)):
        with pytest.raises(InvalidState) as caught:
            seal.claim(opened)
        assert caught.value.reason == "was used before"


def test_opening_does_not_use_a_state_up():
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    assert seal.open(text, CALL) == seal.open(text, CALL)


def test_a_state_whose_request_was_cancelled_can_be_used_again():
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    for _ in range(3):
        opened = seal.open(text, CALL)
        seal.claim(opened)
        seal.release(opened)
    opened = seal.open(text, CALL)
    seal.claim(opened)
    seal.spend(opened)
    seal.release(opened)  # too late
    with pytest.raises(InvalidState):
        seal.claim(seal.open(text, CALL))


@requirement("C26-263")
def test_whoever_was_refused_cannot_free_or_spend_a_state():
    seal = make()
    text = seal.seal(PAYLOAD, CALL)
    holder, refused = seal.open(text, CALL), seal.open(text, CALL)
    seal.claim(holder)
    seal.release(refused)
    with pytest.raises(InvalidState):
        seal.claim(refused)
    seal.spend(refused)
    seal.release(holder)
    seal.claim(refused)


def test_what_was_never_claimed_can_be_released_and_spent_in_vain():
    seal = make()
    opened = seal.open(seal.seal(PAYLOAD, CALL), CALL)
    seal.release(opened)
    seal.spend(opened)
    seal.claim(opened)


@requirement("C26-263")
def test_one_state_does_not_use_up_another():
    seal = make()
    one, other = (seal.open(seal.seal(PAYLOAD, CALL), CALL) for _ in range(2))
    seal.claim(one)
    seal.claim(other)


@requirement("C26-263")
@pytest.mark.parametrize("ours", [True, False], ids=["own", "another's"])
def test_nothing_is_forgotten_before_it_expires(ours):
    clock = SetClock(1000.0)
    seal = make(clock=clock, ttl=60.0)
    maker = seal if ours else make(clock=clock, ttl=60.0)
    opened = []
    for _ in range(3):
        clock.time += 1
        opened.append(seal.open(maker.seal(PAYLOAD, CALL), CALL))
    for one in (opened[2], opened[0], opened[1]):
        seal.claim(one)
    seal.spend(opened[0])
    seal.spend(opened[2])
    seal.release(opened[1])
    seal.claim(opened[1])
    for clock.time, reason in (
        (math.nextafter(1061, 0), "was used before"),
        (1061, "has expired"),
        (math.nextafter(1063, 0), "has expired"),
    ):
        with pytest.raises(InvalidState) as refused:
            seal.claim(opened[0])
        assert refused.value.reason == reason
    with pytest.raises(InvalidState) as refused:
        seal.claim(opened[2])  # what is beside it on the page has expired
    assert refused.value.reason == "was used before"
    clock.time = 1063
    seal.release(opened[1])  # expired, and still known
    for one in opened:
        with pytest.raises(InvalidState):
            seal.claim(one)
        seal.spend(one)
        seal.release(one)
    assert (seal._claimed, len(seal._marks), seal._spent, seal._expiries) == ({}, 0, set(), [])


@requirement("C26-263")
def test_of_another_processs_states_only_so_many_are_remembered():
    clock = SetClock(1000.0)
    seal, another = make(clock=clock, ttl=60.0, remembered=2), make(clock=clock, ttl=60.0)
    opened = []
    for _ in range(3):
        clock.time += 1
        opened.append(seal.open(another.seal(PAYLOAD, CALL), CALL))
    for one in opened[:2]:
        seal.claim(one)
        seal.release(one)  # takes no room
        seal.claim(one)
        seal.spend(one)
    with pytest.raises(LimitReached) as caught:
        seal.claim(opened[2])
    assert (caught.value.limit, caught.value.value) == ("request_states", 2)
    own = seal.open(seal.seal(PAYLOAD, CALL), CALL)
    seal.claim(own)  # nobody can fill up what we need for our own
    seal.spend(own)
    clock.time = math.nextafter(1061, 0)
    with pytest.raises(LimitReached):
        seal.claim(opened[2])
    clock.time = 1061  # the first has expired
    seal.claim(opened[2])


@requirement("C26-263")
@given(st.lists(st.tuples(st.integers(0, 5 * module._PAGE_BITS), st.floats(1, 100)), max_size=40), st.floats(0, 101))
def test_a_mark_stays_until_it_expires(marks, now):
    model = {}
    pages = module._Marks()
    for number, expires_at in marks:
        if number not in model:
            pages.add(number, expires_at)
            model[number] = expires_at
    pages.forget(now)
    for number, expires_at in model.items():
        assert number in pages or expires_at <= now
        for beside in (number - 1, number + 1, number + 8):
            assert beside in model or beside not in pages
    assert len(pages) == len({number // module._PAGE_BITS for number in model if number in pages})


def test_our_own_states_take_a_bit_each():
    seal = make(remembered=1)
    for _ in range(1000):
        opened = seal.open(seal.seal(PAYLOAD, CALL), CALL)
        seal.claim(opened)
        seal.spend(opened)
        with pytest.raises(InvalidState):
            seal.claim(opened)
    assert (seal._claimed, len(seal._marks), seal._spent, seal._expiries) == ({}, 1, set(), [])


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_can_be_changed_without_refusing_anybody():
    old, both, swapped, new = make(KEY), make(KEY, OTHER_KEY), make(OTHER_KEY, KEY), make(OTHER_KEY)
    by_old, by_new = old.seal(PAYLOAD, CALL), swapped.seal(PAYLOAD, CALL)
    assert to_raw(both.seal(PAYLOAD, CALL))[:9] == to_raw(by_old)[:9]
    assert to_raw(new.seal(PAYLOAD, CALL))[:9] == to_raw(by_new)[:9]
    for seal in (old, both, swapped):
        assert seal.open(by_old, CALL).payload == PAYLOAD
    for seal in (both, swapped, new):
        assert seal.open(by_new, CALL).payload == PAYLOAD
    for seal, text in ((new, by_old), (old, by_new)):
        assert refusal(seal, text).reason == "was sealed with a key that we do not have"


def test_a_state_cannot_be_passed_off_as_sealed_with_another_key():
    seal = make(KEY, OTHER_KEY)
    raw = to_raw(seal.seal(PAYLOAD, CALL))
    raw[1:9] = module._key_id(OTHER_KEY)
    assert refusal(seal, to_text(raw)).reason == "was tampered with"


def test_whoever_shares_the_keys_opens_the_states():
    keys = [os.urandom(32), os.urandom(32)]
    one, other = make(*keys), make(*keys)
    assert other.open(one.seal(PAYLOAD, CALL), CALL).payload == PAYLOAD
    assert one.open(other.seal(PAYLOAD, CALL), CALL).payload == PAYLOAD


def test_without_keys_there_is_one_of_this_process():
    one, other = StateSeal(clock=SetClock()), StateSeal(clock=SetClock())
    text = one.seal(PAYLOAD, CALL)
    assert one.open(text, CALL).payload == PAYLOAD
    refusal(other, text)


@pytest.mark.parametrize("keys", [[b""], [b"k" * 31], [b"k" * 33], [KEY, b"k" * 16], ["k" * 32], [32], b"k" * 32])
def test_keys_of_a_wrong_size_are_refused(keys):
    with pytest.raises(ValueError, match="32 bytes") as caught:
        StateSeal(keys, clock=SetClock())
    assert "k" * 16 not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"ttl": 0.0}, {"ttl": -1.0}, {"ttl": math.inf}, {"ttl": math.nan}, {"remembered": 0}, {"max_bytes": 0}],
    ids=str,
)
def test_limits_have_to_be_positive(options):
    with pytest.raises(ValueError, match="positive"):
        make(**options)


# --- how long, and what is inside -------------------------------------------------------------------------------------


def test_what_is_too_long_is_neither_sealed_nor_opened():
    long = make(max_bytes=2000)
    short = make(max_bytes=1999)
    for text in ("x" * 1990, os.urandom(995).hex()):
        payload = {"t": text}
        assert len(msgspec.json.encode(payload)) == 1998
        assert short.open(long.seal(payload, CALL), CALL).payload == payload
        for extra, openable in (("x", True), ("xx", False)):
            payload = {"t": text + extra}
            sealed = long.seal(payload, CALL)
            assert long.open(sealed, CALL).payload == payload
            if openable:
                assert short.open(sealed, CALL).payload == payload
            else:
                refusal(short, sealed)
    with pytest.raises(LimitReached) as caught:
        long.seal({"t": "x" * 1993}, CALL)
    assert (caught.value.limit, caught.value.value) == ("request_state_bytes", 2000)


def test_a_text_that_is_too_long_is_not_even_decoded(monkeypatch):
    seal = make(max_bytes=100)
    monkeypatch.setattr(module, "base64", None)
    assert refusal(seal, "A" * (seal._max_text + 1)).reason == "is no text, or too long"


def test_the_longest_text_is_still_opened():
    seal = make(max_bytes=1000)  # not compressed
    for length in range(980, 993):
        payload = {"t": "x" * length}
        assert seal.open(seal.seal(payload, CALL), CALL).payload == payload
    assert len(msgspec.json.encode(payload)) == 1000


def test_a_payload_that_swells_is_cut_short():
    """Only somebody with a key can try; what is in that key's hands may still be old, or wrong."""
    packer = zlib.compressobj(level=9, wbits=-15)
    bomb = packer.compress(b'{"t":"' + b"x" * 50_000_000 + b'"}') + packer.flush()
    assert len(bomb) < 60_000
    assert refusal(make(max_bytes=100_000), forge(bomb, compressed=True)).reason == "has a payload that is too long"


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("data", "compressed"),
    [
        (b"", False),
        (b"[]", False),
        (b"null", False),
        (b'{"a":', False),
        (b'{"a":"\xff"}', False),
        (b"[" * 100_000, False),
        (b"", True),
        (b"\xff" * 10, True),
        (_deflated(b"{}")[:-1], True),
        (_deflated(b"{}") + b"x", True),
        (_deflated(b"[]"), True),
        (zlib.compress(b"{}"), True),
    ],
)
def test_what_is_authentic_and_no_payload_is_refused(data, compressed):
    refusal(make(), forge(data, compressed=compressed))


def test_a_forged_state_would_open_if_it_were_right():
    assert make().open(forge(b'{"a":1}', compressed=False), CALL).payload == {"a": 1}
    assert make().open(forge(_deflated(b'{"a":1}'), compressed=True), CALL).payload == {"a": 1}
