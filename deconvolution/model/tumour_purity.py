"""Purity, the fraction of malignant cells, as pathology or DNA gives it: an observation beside bulk."""
from dataclasses import dataclass, replace

import numpy as np

SD = .05          # of a purity around the fraction of malignant cells
UNRELATED = .3    # Pearson's r with the malignant fraction of bulk alone; below, one is not about these patients
TINY = 1e-9       # of a Gram matrix, so that it has an inverse
VARIES = 2 * SD   # sd over patients from which such an r means something


@dataclass
class Purity:
    """values float (n_samples,), 0..1; malignant bool (n_cell_types,): the types of which it is the sum."""
    values: np.ndarray
    malignant: np.ndarray

    def agreement(self, fractions):
        """A line on how far purity and bulk alone (fractions, (n_samples, n_cell_types)) agree.

        Raises ValueError where purity varies and has nothing to do with bulk."""
        of_bulk = fractions[:, self.malignant].sum(axis=1)
        r = np.corrcoef(of_bulk, self.values)[0, 1] if np.ptp(of_bulk) > 0 else 0
        if r < UNRELATED and np.std(self.values) > VARIES:
            raise ValueError(f"purity and the malignant fraction that bulk shows do not go together over patients (r = "
                             f"{r:.2f}): are the patients, the malignant cell types and the signature right?")
        return (f"purity is on average {np.mean(self.values):.2f}, the malignant fraction that bulk alone shows "
                f"{np.mean(of_bulk):.2f} (r = {r:.2f} over patients)")

    def odds(self, fractions):
        """How much surer purity is than bulk: mean squared error of the malignant fraction that bulk alone gives
        (fractions, (n_samples, n_cell_types)), as a multiple of that of purity. Known from how far the two differ."""
        error = np.mean((fractions[:, self.malignant].sum(axis=1) - self.values) ** 2)
        return max(error - SD ** 2, 0) / SD ** 2

    def information(self, gram, odds):
        """What purity adds to the Gram matrices (n_samples, n_cell_types, n_cell_types) of the amounts of the types:
        `odds` times as much about the malignant fraction as they hold."""
        size = np.maximum(np.einsum("ikk->i", gram), 1e-12)[:, None, None]
        contrast = self.malignant - self.values[:, None]  # its product with the amounts is 0 where they agree
        inverse = np.linalg.inv(gram + TINY * size * np.eye(gram.shape[1]))  # there may be a type without any marker
        variance = np.einsum("ik,ikl,il->i", contrast, inverse, contrast)
        return (odds / variance)[:, None, None] * contrast[:, :, None] * contrast[:, None, :]

    def drawn(self, fractions, random):
        """Purity as it could have been measured of samples with these fractions."""
        values = fractions[:, self.malignant].sum(axis=1) + SD * random.standard_normal(len(fractions))
        return replace(self, values=np.clip(values, 0, 1))
