"""Choosing a framework, and changing one's mind: the same network three times, and what is needed to compare them.

`numpy.py`, `tensorflow.py` and `torch.py` hold one multi-layer perceptron, each as its own community would write it.
NumPy's has the backward pass by hand; the other two state the forward pass, and the framework derives the rest.
The parameters that go in are those of `dlbook.mlp`: `W1` (in, out), `b1` (1, out), `W2` and so on, NumPy arrays.
The files offer `network`, `loss_and_gradients` and `sgd_step`.

`lines.py` counts lines of code, `port.py` trains the same network in every framework and takes one default after the
other back, `speed.py` measures overhead, `export.py` writes a trained network to a file that no framework owns,
`memo.py` weighs scores and says which weight the decision hangs on, `governance.py` has the dates and their sources,
`defaults.py` asks the installed frameworks for their defaults.

Sources: Ng (2017), Improving Deep Neural Networks, week 3, "Deep learning frameworks"; Baydin et al. (2018) for
automatic differentiation.
"""
