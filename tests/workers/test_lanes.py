"""Which lanes a relay leaves alone, and for how long."""

from workers.lanes import LONGEST_REST, LaneRests


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lane_rests_twice_as_long_each_time_up_to_a_limit() -> None:
    clock = Clock()
    rests = LaneRests(clock)

    pauses = []
    for _ in range(8):
        pauses.append(rests.unconfirmed(3))
        assert rests.resting == [3]
        clock.now += pauses[-1]
        assert rests.resting == []

    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_REST, LONGEST_REST]
    rests.confirmed(3)
    assert rests.unconfirmed(3) == 1


def test_lanes_with_the_same_events_come_last_until_they_are_confirmed() -> None:
    rests = LaneRests(Clock())

    rests.unconfirmed(3)
    assert sorted(rests.doubtful) == list(range(16))
    rests.confirmed(5)
    assert sorted(rests.doubtful) == [lane for lane in range(16) if lane != 5]


def test_the_lane_of_batches_says_nothing_of_the_others() -> None:
    rests = LaneRests(Clock())

    rests.unconfirmed(16)

    assert (rests.resting, rests.doubtful) == ([16], [16])
