"""The scenarios, a module for each subject; importing one puts them on the list."""
