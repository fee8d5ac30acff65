"""Temporary memory of compiled programs."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import grater

disk = grater.Disk(40.0, 60.0, 30.0, scale_height=2.0, alpha_in=5.0, alpha_out=-5.0)
scene = grater.Scene(disk, grid=grater.Grid((96, 96), 0.02, 70.0))

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(20):
    scene.image().block_until_ready()
before = faults()
for _ in range(50):
    scene.image().block_until_ready()
print((faults() - before) / 50)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc")
def test_an_image_gets_the_same_pages_again():
    """Every call would fill hundreds of new pages with zeros otherwise."""
    found = subprocess.check_output([sys.executable, "-c", COUNT], text=True)
    assert float(found) < 50
