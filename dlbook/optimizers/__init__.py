r"""Optimisers: how a gradient becomes a step. Gradient descent, momentum, RMSprop and Adam.

For a parameter :math:`w` with gradient :math:`g` at step :math:`t = 1, 2, \dots` and learning rate :math:`\alpha`:

.. math::
    \text{sgd:} \quad & w \leftarrow w - \alpha\, g \\
    \text{momentum:} \quad & v \leftarrow \beta v + (1 - \beta)\, g, \qquad w \leftarrow w - \alpha\, v \\
    \text{rmsprop:} \quad & s \leftarrow \beta s + (1 - \beta)\, g^2, \qquad
        w \leftarrow w - \alpha\, \frac{g}{\sqrt{s} + \varepsilon} \\
    \text{adam:} \quad & v \leftarrow \beta_1 v + (1 - \beta_1)\, g, \quad
        s \leftarrow \beta_2 s + (1 - \beta_2)\, g^2, \\
        & w \leftarrow w - \alpha\, \frac{v / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \varepsilon}

with :math:`v = s = 0` before the first step. Every optimiser is an `Optimizer`: `init(params)` gives the state,
and `step(params, grads, state)` gives new parameters and a new state. Nothing is changed in place.

Conventions, the same in `numpy.py`, `tensorflow.py` and `torch.py`:

* `params` and `grads` are dictionaries from names to arrays, with the same names and shapes.
* A hyperparameter is a number, or an array of shape (K, 1, 1) with one number per model of a population whose
  parameters are (K, ...). It is kept in float64 and rounded to the dtype of the parameters at the end, so a float32
  population takes the very steps that its models would take alone.
* The state is a dictionary: "v" and "s" hold one array per parameter, "t" (Adam) the number of steps taken. A
  learning-rate schedule is a new optimiser at every step, with the old state.
* `learning_rate` is at least 0 and finite, each `beta` lies in [0, 1), `eps` is above 0: anything else, NaN included,
  in any element, raises ValueError. A NaN in a gradient makes that parameter NaN, as arithmetic does.

Where the frameworks say something else (the tests take 20 steps with each of them):

* Momentum has three forms. PyTorch writes v = beta v + g, w = w - lr v, which is ours with
  `lr = (1 - beta) * learning_rate`. Keras writes m = beta m - lr g, w = w + m, the same steps as PyTorch's while
  the learning rate is constant.
* RMSprop: PyTorch and we add `eps` outside the root, Keras inside: g / sqrt(s + eps). No `eps` of ours is theirs,
  so Keras is met where `eps` is negligible beside s. Defaults of beta: 0.9 here and in Keras, 0.99 in PyTorch.
* Adam: PyTorch's is ours. Keras leaves `eps` out of the bias correction, so its step t is ours with
  `eps / sqrt(1 - beta2 ** t)`. Defaults of eps: 1e-8 here and in PyTorch, 1e-7 in Keras.

The files offer `sgd`, `momentum`, `rmsprop` and `adam`.

Sources: Kingma and Ba (2015), Adam: A Method for Stochastic Optimization, Algorithm 1, https://arxiv.org/abs/1412.6980;
Tieleman and Hinton (2012), Lecture 6.5: rmsprop; the averaged form of momentum follows Ng (2017).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

Params = dict[str, Any]
State = dict[str, Any]


class Optimizer(NamedTuple):
    """Two pure functions: `init(params) -> state` and `step(params, grads, state) -> (params, state)`."""

    init: Callable[[Params], State]
    step: Callable[[Params, Params, State], tuple[Params, State]]
