"""Decodes what clients send, where it can be stopped: in processes of its own, with a deadline and bounded memory.

`cost` tells from a file's header what it may take; `turns` says whose files are next; `decoder` is one process as the
server sees it, `worker` is what runs in it, `frames` what passes between them; `pool` puts them together.
"""
