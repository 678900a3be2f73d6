"""pagewalk: walk, query, build and edit page tables with the Linux kernel's page-walk contract.

The public names stand in ``__init__.pyi``, each beside the module it comes from; a module is imported when one of its
names is first used, so that ``import pagewalk`` stays cheap.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
