"""What happens inside the Valkey or Redis server: each change of a task as one script, which is atomic there.

All keys of a store begin with its prefix in braces, so that a cluster keeps them in one place:

====================  ========  ====================================================================================
``{p}:task:ID``       hash      version, settled, runs, principal, head, outcome, origin, and which entry of work it is
``{p}:notes:ID``      list      the journal, a note at a time
``{p}:result:ID``     string    an outcome that is too large for lists
``{p}:of:NAME``       zset      a principal's tasks by position
``{p}:running:NAME``  set       those of them that are not settled
``{p}:unfinished``    zset      everybody's tasks that are not settled, by position
``{p}:ends``          zset      when lifetimes end, in microseconds since the epoch; a member is an id and its owner
``{p}:last``          string    the latest position
``{p}:leases``        zset      unfinished tasks that were begun; until when, in milliseconds of the server's clock
``{p}:lapses``        string    how many leases have run out so far
``{p}:work``          stream    tasks that wait for somebody of the group ``workers``, and their run so far; of small
                                ones that are new what it takes to begin, too, which saves those who do so a look
``{p}:changes``       stream    which task has changed, to which version (-1: gone), and whether it is over or was begun
``{p}:claim:NAME``    string    which process has something that one has at a time
``{p}:said``          stream    what the work of a task says on its way; no script has to do with it
====================  ========  ====================================================================================

The server's own expiry stands behind the lifetime, which others end: should nobody be there to do so, a task goes a
minute later all the same, and what its work has said a minute after that was said.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ABANDONED",
    "BEAT",
    "CLAIM",
    "CREATE",
    "GET",
    "GIVE_BACK",
    "GROUP",
    "PAGE",
    "REMOVE",
    "REPLACE",
    "SAY",
    "SECRET",
    "STATS",
    "TOOK",
    "UNFINISHED",
]

_MOST_CHANGES: Final = 100_000  # how many are kept for whoever was away for a moment
_AFTER_MS: Final = 60_000
_MOST_SAID: Final = 1000  # how much is there for those who are slow to hear it
GROUP: Final = "workers"

_LEASES: Final = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- One that was left in an orderly way is 0. Each that ran out is counted when somebody first does something about it.
local function count_lapse(leases, lapses, id, now)
  local till = tonumber(redis.call('ZSCORE', leases, id) or 0)
  if till > 0 and till <= now then redis.call('INCR', lapses) end
end
"""

_QUEUE: Final = f"""
local function waits_no_more(work, entry)
  redis.call('XACK', work, '{GROUP}', entry)
  redis.call('XDEL', work, entry)
end
"""

# KEYS: task, notes, result, of, running, unfinished, ends, changes, last, leases, work, lapses
_COMMON: Final = f"""
local function lives(left_ms)
  for i = 1, 3 do
    if left_ms == '' then redis.call('PERSIST', KEYS[i]) else redis.call('PEXPIRE', KEYS[i], left_ms + {_AFTER_MS}) end
  end
end
local function member(id, principal)
  return string.len(id) .. ':' .. id .. principal
end
local function changed(id, version, what)
  redis.call('XADD', KEYS[8], 'MAXLEN', '~', {_MOST_CHANGES}, '*', 'news', version .. ' ' .. what .. ' ' .. id)
end
"""

CREATE: Final = (
    _LEASES
    + _COMMON
    + """
local id, principal, created_us, ends_us, left_ms, version, settled = unpack(ARGV, 1, 7)
local head, origin, outcome, large, most_running, most_retained = unpack(ARGV, 8, 13)
local runs, lease_ms, whole = unpack(ARGV, 14, 16)
if most_running ~= '' then
  local running, retained = redis.call('SCARD', KEYS[5]), redis.call('ZCARD', KEYS[4])
  if running >= tonumber(most_running) or retained >= tonumber(most_retained) then
    return {'full', running, retained}
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'exists'} end
local position = math.max(tonumber(created_us), tonumber(redis.call('GET', KEYS[9]) or 0) + 1)
position = string.format('%.0f', position)
redis.call('SET', KEYS[9], position)
redis.call('HSET', KEYS[1], 'version', version, 'settled', settled, 'principal', principal, 'head', head, 'runs', runs)
if origin ~= '' then redis.call('HSET', KEYS[1], 'origin', origin) end
if outcome ~= '' then redis.call('HSET', KEYS[1], 'outcome', outcome) end
if large ~= '' then redis.call('SET', KEYS[3], large) end
for i = 17, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
redis.call('ZADD', KEYS[4], position, id)
if settled == '0' then
  redis.call('SADD', KEYS[5], id)
  redis.call('ZADD', KEYS[6], position, id)
  if runs == '0' then
    local entry = {'id', id, 'runs', 0}
    if whole == '1' then entry = {'id', id, 'runs', 0, 'version', version, 'head', head, 'origin', origin} end
    redis.call('HSET', KEYS[1], 'entry', redis.call('XADD', KEYS[11], '*', unpack(entry)))
  else
    redis.call('ZADD', KEYS[10], clock() + lease_ms, id)
  end
end
if ends_us ~= '' then redis.call('ZADD', KEYS[7], ends_us, member(id, principal)) end
lives(left_ms)
return {'done'}
"""
)

REPLACE: Final = (
    _LEASES
    + _QUEUE
    + _COMMON
    + """
local id, principal, ends_us, left_ms, version, settled = unpack(ARGV, 1, 6)
local head, outcome, large, known, runs, lease_ms = unpack(ARGV, 7, 12)
local old = redis.call('HMGET', KEYS[1], 'version', 'settled', 'runs', 'entry')
if not old[1] or tonumber(old[1]) ~= tonumber(version) - 1 then return {'stale'} end
local count = redis.call('LLEN', KEYS[2])
if count ~= tonumber(known) then return {'notes', count} end
redis.call('HSET', KEYS[1], 'version', version, 'settled', settled, 'head', head, 'runs', runs)
if outcome ~= '' then redis.call('HSET', KEYS[1], 'outcome', outcome) end
if large ~= '' then redis.call('SET', KEYS[3], large) end
for i = 13, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
local entry = (settled == '1' or runs ~= old[3]) and old[4] or ''
if entry ~= '' then
  waits_no_more(KEYS[11], entry)
  redis.call('HDEL', KEYS[1], 'entry')
end
if settled == '1' and old[2] == '0' then
  count_lapse(KEYS[10], KEYS[12], id, clock())
  redis.call('SREM', KEYS[5], id)
  redis.call('ZREM', KEYS[6], id)
  redis.call('ZREM', KEYS[10], id)
elseif runs ~= old[3] then
  local now = clock()
  count_lapse(KEYS[10], KEYS[12], id, now)
  redis.call('ZADD', KEYS[10], now + lease_ms, id)
end
local name = member(id, principal)
if ends_us == '' then redis.call('ZREM', KEYS[7], name) else redis.call('ZADD', KEYS[7], ends_us, name) end
lives(left_ms)
local begun = runs ~= old[3]
-- That it was begun for the first time is no news: nobody has had it before.
if settled == '1' or not begun or old[3] ~= '0' then
  changed(id, version, settled == '1' and 'over' or begun and 'begun' or '')
end
return {'done', entry}
"""
)

# KEYS: unfinished, ends, changes, leases, lapses, work. ARGV: the prefix, then id and owner of each.
REMOVE: Final = (
    _LEASES
    + _QUEUE
    + f"""
local prefix = ARGV[1]
for i = 2, #ARGV, 2 do
  local id, principal = ARGV[i], ARGV[i + 1]
  if principal == '' then principal = redis.call('HGET', prefix .. 'task:' .. id, 'principal') end
  if principal then
    local entry = redis.call('HGET', prefix .. 'task:' .. id, 'entry')
    if entry then waits_no_more(KEYS[6], entry) end
    redis.call('DEL', prefix .. 'task:' .. id, prefix .. 'notes:' .. id, prefix .. 'result:' .. id)
    redis.call('ZREM', prefix .. 'of:' .. principal, id)
    redis.call('SREM', prefix .. 'running:' .. principal, id)
    count_lapse(KEYS[4], KEYS[5], id, clock())
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[4], id)
    redis.call('ZREM', KEYS[2], string.len(id) .. ':' .. id .. principal)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', {_MOST_CHANGES}, '*', 'news', '-1 over ' .. id)
  end
end
"""
)

_ROW: Final = """
local function row(task, notes, result)
  local found = redis.call('HMGET', task, 'version', 'head', 'outcome', 'origin')
  if not found[1] then return false end
  return {found[1], found[2], found[3], found[4], redis.call('GET', result), redis.call('LRANGE', notes, 0, -1)}
end
"""

# KEYS: task, notes, result of each
GET: Final = (
    _ROW
    + """
local rows = {}
for i = 1, #KEYS, 3 do rows[#rows + 1] = row(KEYS[i], KEYS[i + 1], KEYS[i + 2]) end
return rows
"""
)

# KEYS: the sorted set. ARGV: the prefix, after which position, how many
PAGE: Final = """
local found = {}
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
for i = 1, #ids, 2 do
  local row = redis.call('HMGET', ARGV[1] .. 'task:' .. ids[i], 'version', 'head', 'outcome')
  found[#found + 1] = {ids[i], string.format('%.0f', tonumber(ids[i + 1])), row[1], row[2], row[3]}
end
return found
"""

# KEYS: unfinished. ARGV: the prefix, after which position, how many
UNFINISHED: Final = """
local found = {}
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
for i = 1, #ids, 2 do found[#found + 1] = {ids[i], string.format('%.0f', tonumber(ids[i + 1]))} end
return found
"""

# KEYS: leases, lapses, work. ARGV: the prefix, for how many milliseconds, then id and run of each. For 0 they wait for
# somebody else.
BEAT: Final = (
    _LEASES
    + """
local lost = {}
local now, leaves = clock(), ARGV[2] == '0'
for i = 3, #ARGV, 2 do
  local found = redis.call('HMGET', ARGV[1] .. 'task:' .. ARGV[i], 'runs', 'settled')
  if found[1] == ARGV[i + 1] and found[2] == '0' then
    count_lapse(KEYS[1], KEYS[2], ARGV[i], now)
    redis.call('ZADD', KEYS[1], leaves and 0 or now + ARGV[2], ARGV[i])
    if leaves then
      local entry = redis.call('XADD', KEYS[3], '*', 'id', ARGV[i], 'runs', found[1])
      redis.call('HSET', ARGV[1] .. 'task:' .. ARGV[i], 'entry', entry)
    end
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""
)

# KEYS: leases. ARGV: the prefix, after how many, how many. With their records, in the same step: whoever begins one of
# them on that has to be the first to do so.
ABANDONED: Final = (
    _LEASES
    + _ROW
    + """
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', clock(), 'LIMIT', ARGV[2], ARGV[3])) do
  found[#found + 1] = {id, row(ARGV[1] .. 'task:' .. id, ARGV[1] .. 'notes:' .. id, ARGV[1] .. 'result:' .. id)}
end
return found
"""
)

# KEYS: unfinished, ends, leases, lapses, work. What is oldest is in microseconds, or false.
STATS: Final = (
    _LEASES
    + """
local overdue = redis.call('ZCOUNT', KEYS[3], '-inf', clock())
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {
  redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[1]), redis.call('XLEN', KEYS[5]),
  redis.call('ZCARD', KEYS[3]) - overdue, overdue, tonumber(redis.call('GET', KEYS[4]) or 0),
  oldest and string.format('%.0f', tonumber(oldest)) or false,
}
"""
)

# KEYS: work. ARGV: the entries
TOOK: Final = (
    _QUEUE
    + """
for _, entry in ipairs(ARGV) do waits_no_more(KEYS[1], entry) end
"""
)

# KEYS: work. ARGV: the prefix, and who has left. What it was given and has not begun waits at the end once more, if it
# still does. Those who have died, and had nothing, are forgotten a day later.
GIVE_BACK: Final = (
    _QUEUE
    + f"""
local day_ms = 86400000
local given = redis.pcall('XPENDING', KEYS[1], '{GROUP}', '-', '+', 1000, ARGV[2])
if given.err then return end
for _, one in ipairs(given) do
  local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
  local task = entry and ARGV[1] .. 'task:' .. entry[2][2]
  if task and redis.call('HGET', task, 'entry') == one[1] then
    redis.call('HSET', task, 'entry', redis.call('XADD', KEYS[1], '*', unpack(entry[2])))
  end
  waits_no_more(KEYS[1], one[1])
end
if #given < 1000 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '{GROUP}', ARGV[2]) end
for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], '{GROUP}')) do
  local known = {{}}
  for i = 1, #one, 2 do known[one[i]] = one[i + 1] end
  if known.pending == 0 and known.idle > day_ms then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '{GROUP}', known.name)
  end
end
"""
)

# KEYS: the claim. ARGV: who, for how many milliseconds at least; none if it is given up
CLAIM: Final = """
local has = redis.call('GET', KEYS[1])
if has and has ~= ARGV[1] then return 0 end
if not ARGV[2] then
  redis.call('DEL', KEYS[1])
elseif redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
"""

# KEYS: said. ARGV: the task, the words
SAY: Final = f"""
redis.call('XADD', KEYS[1], 'MAXLEN', '~', {_MOST_SAID}, '*', 'id', ARGV[1], 'said', ARGV[2])
redis.call('PEXPIRE', KEYS[1], {_AFTER_MS})
"""

# KEYS: the secret. ARGV: one to keep if there is none
SECRET: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
"""
