"""A referee whose own code is right may lean on contracts that are not: whoever would use it has to notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tallystick.chain.compiler import compile_contract
from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment
from tallystick.chain.referee import RefereeClient, deploy_referee
from tallystick.errors import ChainError
from tallystick.spec.referee import Terms


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain.embedded(accounts=1)


@pytest.fixture(scope="module")
def genuine(chain: Chain) -> Deployment:
    return deploy_referee(chain, Terms(), chain.signers[0])


def test_a_genuine_referee(chain: Chain, genuine: Deployment) -> None:
    referee = RefereeClient.of(chain, genuine)
    assert referee.contract.call("kernel_reader") == genuine.addresses["KernelReader"]
    assert referee.contract.call("leaf_executor") == genuine.addresses["LeafExecutor"]


@pytest.mark.parametrize("name", ["KernelReader", "LeafExecutor"])
def test_a_counterfeit_part(chain: Chain, genuine: Deployment, name: str) -> None:
    """The deployment says that all is well; the referee itself was told otherwise when it was made."""
    parts = {**genuine.addresses, name: genuine.addresses["TestToken"]}
    leaned_on = [parts[each] for each in ("TestToken", "KernelReader", "LeafExecutor")]
    referee = chain.deploy(compile_contract("Referee"), *leaned_on, Terms(), sender=chain.signers[0])
    deployment = replace(genuine, addresses={**genuine.addresses, "Referee": referee.address})
    with pytest.raises(ChainError, match=name):
        RefereeClient.of(chain, deployment)
