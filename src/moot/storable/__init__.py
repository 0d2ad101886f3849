"""Storable: what can be stored, and is read again as itself.

It may import only `errors`. Read `types` first: which types can be read again at all. `values` says whether one value
of such a type is, and copies it; `difference` says where it is not.
"""

__all__: list[str] = []
