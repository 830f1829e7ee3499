from __future__ import annotations

import threading

from ctxkit.flushing.sinks._watching import Ledger


def test_losses_are_told_once_to_whoever_asks_first() -> None:
    ledger = Ledger()
    ledger.lose("network")
    ledger.lose("network")
    ledger.lose("status_500")

    assert ledger.losses
    assert ledger.settle() == "lost: network, status_500"
    assert not ledger.losses
    assert ledger.settle() == ""


def test_loss_is_told_to_every_flush_that_was_under_way() -> None:
    ledger = Ledger()
    first, second = ledger.begin(), ledger.begin()
    ledger.lose("network")

    assert ledger.settle(first) == "lost: network"
    assert ledger.settle(second) == "lost: network"
    assert ledger.settle(ledger.begin()) == ""


def test_loss_of_before_is_told_to_the_next_flush_alone() -> None:
    ledger = Ledger()
    ledger.lose("network")
    first, second = ledger.begin(), ledger.begin()

    assert ledger.settle(first) == "lost: network"
    assert ledger.settle(second) == ""


def test_ledger_that_nobody_reads_stays_small() -> None:
    ledger = Ledger()
    for number in range(10_000):
        ledger.lose(str(number))

    assert len(ledger.settle(0).split(",")) == 100


def test_losses_are_told_while_others_come() -> None:
    ledger = Ledger()
    over = threading.Event()

    def lose() -> None:
        while not over.is_set():
            ledger.lose("network")

    losing = [threading.Thread(target=lose) for _ in range(3)]
    for each in losing:
        each.start()
    try:
        for _ in range(300):
            assert ledger.settle(ledger.begin()) in ("", "lost: network")
    finally:
        over.set()
        for each in losing:
            each.join()


def test_what_is_kept_is_told_apart_from_what_is_lost() -> None:
    ledger = Ledger()
    ledger.keep("network")
    assert ledger.losses
    assert not ledger.lossy
    ledger.lose("full_queue")
    assert ledger.lossy
    assert ledger.settle() == "lost: full_queue; kept for later: network"
