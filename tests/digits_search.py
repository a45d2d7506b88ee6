"""A search that machines can share: python digits_search.py STORE"""

import sys

from dlbook.data import digits
from dlbook.tuning import MLP, Log, OneMinusLog, Sobol, Space, run

objective = MLP(digits(seed=0), epochs=60)
space = Space(lr=Log(1e-3, 10), momentum=OneMinusLog(0.5, 0.99))
sampler = Sobol(space)

if __name__ == "__main__":
    study = run(objective, space, sampler, n=32, engine="optuna", store=sys.argv[1])
    print(study)
