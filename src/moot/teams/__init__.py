"""Ready teams, made of agents that also work on their own. Each is a package: `moot.teams.research`."""

__all__: list[str] = []
