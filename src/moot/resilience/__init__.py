"""Resilience: what keeps one slow or failing part from taking the rest down.

It may import the words (`clock`, `errors`, `ids`, `policies`) and knows neither messages nor agents. Read `deadlines`
first.
"""

__all__: list[str] = []
