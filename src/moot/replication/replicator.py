"""The replicator: an agent that holds a replica of named values and keeps it equal to those of its peers.

It sends the deltas of its own changes at once, those of a burst together, and trusts nobody to have got them: every so
often it compares digests with a peer, and each sends the other what it lacks. So a lost message costs an interval, a
repeated or late one nothing, and a peer that was away catches up by the same talk. All that it knows is in its state:
on a durable backend a replica outlives the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import StateUnreadable
from moot.replication.digests import differing, digest_of, haves, keys_in, summary
from moot.replication.kinds import shown
from moot.replication.messages import (
    Changed,
    Deltas,
    Digest,
    Have,
    Join,
    Leave,
    Part,
    Push,
    Read,
    Standing,
    Status,
    Tick,
    Update,
    changes,
)
from moot.replication.policy import ReplicationPolicy
from moot.replication.replica import Replica, key_of, lacking, logged_since, read_back, received, updated
from moot.state.crdt import CausalContext

__all__ = ["Replicator"]

_USUAL = ReplicationPolicy()

_ASKED_ANYWAY = 0.1
"""How often a silent peer is asked at a tick."""


class Replicator(Agent[Replica]):
    """Holds a replica of named values; ``peers`` are the ids of the replicators that hold the others.

    Send it `Update` and `Read`; subscribe to the topic `changes`. Peers join and leave by `Join` and `Leave`.
    """

    def __init__(self, agent_id: str, peers: Iterable[str] = (), policy: ReplicationPolicy = _USUAL) -> None:
        super().__init__(agent_id)
        self._first_peers = tuple(peers)
        self._policy = policy
        self._heard: dict[str, float] = {}
        self._names: set[str] = set()

    def stored_state(self, body: bytes, version: int) -> Replica:
        """The replica in what was stored."""
        try:
            return read_back(super().stored_state(body, version))
        except ValueError as error:
            raise StateUnreadable(type(self).__name__, version, self.state_version, str(error)) from error

    async def on_start(self, ctx: AgentContext[Replica]) -> None:
        state = ctx.state
        new = [peer for peer in self._first_peers if peer not in (*state.peers, *state.left, self.id)]
        # a stored name may stand in a copy of the state, too: each life writes under its own
        writer = state.writer if state.writer in self._names else self._new_name(ctx)
        ctx.state = msgspec.structs.replace(state, writer=writer, peers=(*state.peers, *dict.fromkeys(new)))
        self._heard = dict.fromkeys(ctx.state.peers, ctx.now())
        first = self._policy.interval * ctx.random.random()  # peers that start together need not tick together
        ctx.schedule(first, Tick(), every=self._policy.interval, name="anti-entropy")

    async def on_stop(self, ctx: AgentContext[Replica]) -> None:
        ctx.unschedule("anti-entropy")

    @handles
    async def update(self, message: Update, ctx: AgentContext[Replica]) -> None:
        before = ctx.state
        after = updated(before, message.kind, message.name, message.change, ctx.now(), self._policy)
        if after is not before:
            if not before.unsent:
                ctx.schedule(0, Push())
            ctx.state = after
            ctx.publish(changes(self.id, message.kind, message.name), Changed(kind=message.kind, name=message.name))

    @handles
    async def read(self, message: Read, ctx: AgentContext[Replica]) -> object:
        return shown(ctx.state.held(message.kind, message.name).value)

    @handles
    async def status(self, message: Status, ctx: AgentContext[Replica]) -> Standing:
        state = ctx.state
        return Standing(state.writer, summary(state), len(state.values), state.peers, state.refused)

    @handles
    async def join(self, message: Join, ctx: AgentContext[Replica]) -> None:
        if message.peer not in (*ctx.state.peers, self.id):
            self._admit(ctx, message.peer)
            ctx.send(message.peer, Join(peer=self.id))
            ctx.send(message.peer, digest_of(ctx.state))

    @handles
    async def leave(self, message: Leave, ctx: AgentContext[Replica]) -> None:
        state = ctx.state
        if message.peer in state.peers:
            ctx.state = msgspec.structs.replace(
                state,
                peers=tuple(peer for peer in state.peers if peer != message.peer),
                left=(*state.left, message.peer),
                arriving={sender: parts for sender, parts in state.arriving.items() if sender != message.peer},
            )
            ctx.send(message.peer, Leave(peer=self.id))

    @handles
    async def push(self, message: Push, ctx: AgentContext[Replica]) -> None:
        self._push(ctx)

    @handles
    async def tick(self, message: Tick, ctx: AgentContext[Replica]) -> None:
        self._push(ctx)
        self._compare(ctx)

    @handles
    async def deltas(self, message: Deltas, ctx: AgentContext[Replica]) -> None:
        if not self._hear(ctx):
            return
        self._check_name(ctx, [(key_of(part.kind, part.name), part.seen) for part in message.parts])
        for part in message.parts:
            before = ctx.state
            try:
                after = received(before, ctx.sender, part, ctx.now(), self._policy)
            except (TypeError, ValueError) as error:
                ctx.log.warning("%s: a part of %s %r is refused: %s", ctx.sender, part.kind, part.name, error)
                ctx.state = msgspec.structs.replace(before, refused=before.refused + 1)
                continue
            if after is not before:
                ctx.state = after
                kind, name = part.kind, part.name
                ctx.publish(changes(self.id, kind, name), Changed(kind=kind, name=name))  # type: ignore[arg-type]

    @handles
    async def digest(self, message: Digest, ctx: AgentContext[Replica]) -> None:
        if self._hear(ctx, admits=True):
            self._tell(ctx, message.count, differing(ctx.state, message), wants_answer=True)

    @handles
    async def have(self, message: Have, ctx: AgentContext[Replica]) -> None:
        if not self._hear(ctx):
            return
        self._check_name(ctx, message.seen.items())
        state, nothing = ctx.state, CausalContext()
        parts: list[Part] = []
        for key in keys_in(state, message.count, message.buckets):
            parts += lacking(state, key, message.seen.get(key, nothing), self._policy)
        self._send(ctx, [ctx.sender], parts)
        if message.wants_answer and any(
            seen.minus(state.values[key].seen if key in state.values else nothing) for key, seen in message.seen.items()
        ):
            self._tell(ctx, message.count, list(message.buckets), wants_answer=False)

    def _push(self, ctx: AgentContext[Replica]) -> None:
        state = ctx.state
        if not state.unsent:
            return
        parts: list[Part] = []
        values = dict(state.values)
        for key in state.unsent:
            held = values[key]
            parts += logged_since(state, key, held.seen.minus(held.unsent), self._policy) or ()
            values[key] = msgspec.structs.replace(held, unsent=CausalContext())
        ctx.state = msgspec.structs.replace(state, values=values, unsent=())
        self._send(ctx, [peer for peer in state.peers if self._is_near(peer, ctx)], parts)

    def _compare(self, ctx: AgentContext[Replica]) -> None:
        """Send a digest to some peers, and now and then to one that is silent."""
        near = [peer for peer in ctx.state.peers if self._is_near(peer, ctx)]
        far = [peer for peer in ctx.state.peers if peer not in near]
        chosen = ctx.random.sample(near, min(self._policy.fanout, len(near)))
        if far and (not near or ctx.random.random() < _ASKED_ANYWAY):
            chosen.append(ctx.random.choice(far))
        digest = digest_of(ctx.state) if chosen else None
        for peer in chosen:
            ctx.send(peer, digest)

    def _tell(self, ctx: AgentContext[Replica], count: int, buckets: list[int], *, wants_answer: bool) -> None:
        for have in haves(ctx.state, count, buckets, self._policy.message_bytes, wants_answer=wants_answer):
            ctx.send(ctx.sender, have)

    def _send(self, ctx: AgentContext[Replica], peers: list[str], parts: list[Part]) -> None:
        """Send parts, as many to a message as it has room for."""
        together: list[Part] = []
        size = 0
        for part in [*parts, None]:
            more = len(msgspec.msgpack.encode(part))
            if together and (part is None or size + more > self._policy.message_bytes):
                deltas = Deltas(parts=tuple(together))
                for peer in peers:
                    ctx.send(peer, deltas)
                together, size = [], 0
            if part is not None:
                together.append(part)
                size += more

    def _hear(self, ctx: AgentContext[Replica], *, admits: bool = False) -> bool:
        """Whether to listen to the sender. One that has left is told so again; a new one that ``admits`` is a peer."""
        if ctx.sender in ctx.state.left:
            ctx.send(ctx.sender, Leave(peer=self.id))
            return False
        if admits and ctx.sender not in ctx.state.peers:
            self._admit(ctx, ctx.sender)
        self._heard[ctx.sender] = ctx.now()
        return True

    def _admit(self, ctx: AgentContext[Replica], peer: str) -> None:
        state = ctx.state
        left = tuple(one for one in state.left if one != peer)
        ctx.state = msgspec.structs.replace(state, peers=(*state.peers, peer), left=left)
        self._heard[peer] = ctx.now()

    def _is_near(self, peer: str, ctx: AgentContext[Replica]) -> bool:
        return ctx.now() - self._heard.get(peer, 0.0) < self._policy.silence

    def _check_name(self, ctx: AgentContext[Replica], told: Iterable[tuple[str, CausalContext]]) -> None:
        """Who is told of deltas of its own that it does not know has lost some: it goes on under a new name."""
        state = ctx.state
        for key, seen in told:
            theirs = seen.seen.get(state.writer, (0,))
            mine = state.values[key].seen.seen.get(state.writer, (0,)) if key in state.values else (0,)
            if theirs[-1] > mine[-1]:
                name = self._new_name(ctx)
                ctx.log.warning("%s knows more of %s than it does itself: it is %s now", ctx.sender, state.writer, name)
                ctx.state = msgspec.structs.replace(state, writer=name)
                return

    def _new_name(self, ctx: AgentContext[Replica]) -> str:
        """A name to write under that no earlier life of this agent had."""
        drawn = f"{ctx.now()}/{ctx.random.random()}".encode()
        name = f"{self.id}~{blake2b(drawn, digest_size=5).hexdigest()}"
        self._names.add(name)
        return name
