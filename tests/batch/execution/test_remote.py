import itertools

from editvec.batch.execution.remote import Seldom


def test_what_is_done_seldom_takes_a_twentieth_of_the_time() -> None:
    clock, done = [0.0], []

    def count() -> None:
        done.append(clock[0])
        clock[0] += 0.2

    seldom = Seldom(count, clock=lambda: clock[0])
    for _ in range(200):
        seldom()
        clock[0] += 0.5

    assert done[0] == 0.0
    gaps = {round(after - before, 1) for before, after in itertools.pairwise(done)}
    assert gaps == {4.2}  # the first look after 20 times 0.2 s


def test_what_takes_no_time_is_done_every_time() -> None:
    done: list[int] = []
    seldom = Seldom(lambda: done.append(1), clock=lambda: 7.0)

    for _ in range(3):
        seldom()

    assert len(done) == 3
