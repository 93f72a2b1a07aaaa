"""Settings: all settings of a server, and where they are read from.

Flags override the environment, that overrides `.env`, that a TOML file, that the defaults. All are checked at the
start, and all errors are reported at once. The flags, their help and docs/settings.md are generated from the fields.
"""

from .loading import from_keywords as from_keywords
from .loading import load
from .loading import merge as merge
from .names import FIELD_OF_VARIABLE as FIELD_OF_VARIABLE
from .names import OTHER_VARIABLES as OTHER_VARIABLES
from .names import SECRETS as SECRETS
from .names import SECTIONS as SECTIONS
from .names import default_text as default_text
from .names import env_variable as env_variable
from .names import flag as flag
from .names import section_title as section_title
from .settings import API_KEY as API_KEY
from .settings import RELOADABLE as RELOADABLE
from .settings import Settings

__all__ = ["Settings", "load"]
