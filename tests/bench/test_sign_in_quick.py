"""The benchmark of sign-in runs, and what it says that is not a matter of time is true."""

from tests.support.benchmarks import quick_report


async def test_the_quick_benchmark_measures_everything() -> None:
    report = await quick_report("sign_in")

    assert report["access_token_ms"]["median"] > 0
    for algorithm in ("RS256", "PS256", "ES256", "EdDSA"):
        assert 0 < report[algorithm]["later_ms"]["median"] < report[algorithm]["first_ms"]["median"]
