"""Many small non-negative least squares at once."""
import numpy as np


def coordinate_descent(gram, rhs, start, n_sweeps=50):
    """Minimise x'Gx / 2 - r'x over x >= 0 for every problem of a batch.

    Parameters
    ----------
    gram : ndarray (n_problems, n, n), positive semi-definite
    rhs : ndarray (n_problems, n)
    start : ndarray (n_problems, n) or (n,), not negative

    Returns
    -------
    ndarray (n_problems, n)
        A variable whose diagonal entry is zero is not in the problem: it stays at its start.
    """
    x = np.broadcast_to(start, rhs.shape).astype(rhs.dtype)
    diagonal = np.einsum("pkk->pk", gram)
    in_problem = diagonal > 0
    scale = np.where(in_problem, diagonal, 1)
    for _ in range(n_sweeps):
        for k in range(rhs.shape[1]):
            gradient = np.einsum("pl,pl->p", gram[:, k], x) - rhs[:, k]
            x[:, k] = np.where(in_problem[:, k], np.maximum(x[:, k] - gradient / scale[:, k], 0), x[:, k])
    return x
