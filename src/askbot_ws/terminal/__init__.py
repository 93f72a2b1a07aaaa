"""Terminal: the commands `askbot ask` and `askbot chat`.

What takes long to import (rich, prompt_toolkit) is imported by `askbot chat` only, and only on a terminal that can
move its cursor.
"""
