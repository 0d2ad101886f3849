"""llama.cpp in a process of its own: started, asked, watched, replaced, shared. For `moot.engine.local` alone.

Read `child` first, which runs there, then `process`, which watches it from here.
"""

__all__: list[str] = []
