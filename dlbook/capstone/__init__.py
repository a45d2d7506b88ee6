r"""The capstone: from a search to a digit reader that is served, with a card that says what is known about it.

Nothing here is a new method. `experiments.py` joins those of the other chapters in the order in which they are used:
seal the test part, search, run the finalists again on fresh seeds, fit a temperature, choose the confidence below
which a clerk reads, fold, and only then open the seal. `card.py` turns the numbers into a model card, and scores a
card by what an honest one has to say.

Two small facts carry the page. If n answers were all right, the error rate is with 95 % certainty at most

.. math::
    1 - 0.05^{1/n} \approx \frac{3}{n} ,

the *rule of three*. And the smallest of many noisy losses is smaller than the loss of the trial it belongs to, the
*winner's curse*: what is chosen must be measured again, on numbers that did not choose it.

Sources: Mitchell and others (2019), Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993; Clopper and
Pearson (1934), The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial; Chow (1970), On
Optimum Recognition Error and Reject Tradeoff.
"""
