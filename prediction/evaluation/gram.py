"""Regression in the space of the slides: the decomposition that all targets and penalties of a training part share.

    ridge:  X_new X' (X X' + penalty)^-1 Y  =  X_new X' V (D + penalty)^-1 V' Y,        X X' = V D V'

X are the inputs of the training slides, centred. It costs n_train^3 whatever the number of features, once for all.
"""
import concurrent.futures
import functools

import numpy as np
import threadpoolctl

from slide_ex import sharing

COLUMNS = 1024  # of outputs at a time: what belongs to them stays in the processor's cache
threads = sharing.n_cpus()      # of this process


def decomposed(inputs, train, negligible):
    """Eigenvalues (n_directions,), eigenvectors (n_train, n_directions) of X X', and X_all X' V of all slides.

    inputs : float64 (n_slides, n_inputs), centred on the training slides; of few inputs X' X is decomposed
    negligible : eigenvalue, relative to the largest, up to which a direction is none; all are zero for equal inputs
    """
    x, has_few = inputs[train], inputs.shape[1] < len(train)
    gram = x.T @ x if has_few else inputs @ x.T
    values, vectors = np.linalg.eigh(gram if has_few else gram[train])
    kept = values > negligible * max(values[-1], 0)
    values, vectors = values[kept], vectors[:, kept]
    if has_few:
        products = inputs @ vectors * values ** 0.5
        return values, products[train] / values, products
    return values, vectors, gram @ vectors


def use_threads(n_threads):
    """Let this process, one of several, use so many threads instead of one a CPU."""
    global threads
    threads = n_threads
    blas().limit(limits=n_threads, user_api="blas")


def over_columns(function, n_columns):
    """Results of function(slice of columns), in order; one thread a CPU (`use_threads`), each with its own columns.

    Numbers do not depend on how many there are: matrix products inside are of one thread.
    """
    parts = [slice(start, min(start + COLUMNS, n_columns)) for start in range(0, n_columns, COLUMNS)]
    with blas().limit(limits=1, user_api="blas"):
        if len(parts) < 2:
            return [function(part) for part in parts]
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, parts))


@functools.cache
def blas():
    """Libraries of this process whose threads can be limited; to find them takes longer than a small product."""
    return threadpoolctl.ThreadpoolController()
