import pytest


@pytest.fixture(autouse=True)
def programs(tmp_path_factory, monkeypatch):
    """Programs of runs with a checkpoint are kept here and not in the user's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "programs"))
