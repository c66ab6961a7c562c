"""The three machines of the bridge: read this folder first. Pure tables; nothing here touches a row."""

from statemachines.case import CaseFacts, CaseState, case_machine
from statemachines.engine import Edge, GuardRefused, MoveRefused, NoSuchMove, StateMachine
from statemachines.leg import LegFacts, LegState, leg_machine
from statemachines.transfer import TransferFacts, TransferState, transfer_machine

MACHINES = (transfer_machine, leg_machine, case_machine)

__all__ = [
    "MACHINES",
    "CaseFacts",
    "CaseState",
    "Edge",
    "GuardRefused",
    "LegFacts",
    "LegState",
    "MoveRefused",
    "NoSuchMove",
    "StateMachine",
    "TransferFacts",
    "TransferState",
    "case_machine",
    "leg_machine",
    "transfer_machine",
]
