"""Mesa 3.3.1's own boids, `mesa.examples.basic.boid_flockers`, at the density of its defaults.

Run by the Python of `.venv-mesa` (see setup.sh): ``mesa_flock.py BOIDS STEPS`` prints CPU seconds a step.
"""

from __future__ import annotations

import json
import sys
import time

import mesa
from mesa.examples.basic.boid_flockers.model import BoidFlockers


def main(boids: int, steps: int) -> None:
    side = 10.0 * boids**0.5  # 100 boids to 100 x 100, of which each sees 10 far
    model = BoidFlockers(population_size=boids, width=side, height=side, seed=1)
    model.step()
    began = time.process_time()
    for _ in range(steps):
        model.step()
    print(json.dumps({"cpu_s": (time.process_time() - began) / steps, "version": mesa.__version__}))


main(int(sys.argv[1]), int(sys.argv[2]))
