"""Where simulated disputes are played: in plain Python, on the embedded chain, or on a node's."""

from __future__ import annotations

from tallystick.chain.connection import Chain
from tallystick.chain.referee import RefereeClient, deploy_referee
from tallystick.chain.token import Token
from tallystick.errors import ChainError
from tallystick.spec.referee import Terms

EMBEDDED, NONE = "embedded", "none"
NEEDED_SIGNERS = 3


class ChainStand(RefereeClient):
    """A referee of its own on a chain where ether is free, with a worker and a challenger who have tokens to post.

    The contracts are deployed by the first of the chain's accounts; the next two are the worker and the challenger.
    """

    def __init__(self, chain: Chain, terms: Terms) -> None:
        if len(chain.signers) < NEEDED_SIGNERS:
            raise ChainError(
                f"this node signs for {len(chain.signers)} accounts, and {NEEDED_SIGNERS} are needed: "
                "use a development node such as Anvil"
            )
        deployer, worker, challenger = chain.signers[:NEEDED_SIGNERS]
        deployment = deploy_referee(chain, terms, deployer)
        super().__init__(chain, deployment.contract(chain, "Referee"), deployment.first_block)
        self.worker, self.challenger = worker.address, challenger.address
        token = Token(deployment.contract(chain, "TestToken"))
        for address, amount in ((self.worker, terms.defender_bond), (self.challenger, terms.challenger_bond)):
            token.mint(address, amount, sender=deployer)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.chain.advance_time(seconds)


def chain_stand(where: str, terms: Terms) -> ChainStand:
    """A stand on the embedded chain or, if ``where`` is a URL, on the development node behind it.

    Raises: ChainError if that does not answer or is no development node.
    """
    chain = Chain.embedded() if where == EMBEDDED else Chain.connect(where)
    return ChainStand(chain, terms)
