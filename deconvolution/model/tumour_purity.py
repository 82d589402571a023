"""Purity, the fraction of malignant cells, as pathology or DNA gives it: an observation beside bulk."""
from dataclasses import dataclass, replace

import numpy as np

SD = .05          # of a purity around the fraction of malignant cells
UNRELATED = .3    # Pearson's r with the malignant fraction of bulk alone; below, one is not about these patients
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

    def information(self, gram, amounts, of_type, odds):
        """What purity adds to the Gram matrices (n_samples, n_columns, n_columns) of the amounts (n_samples,
        n_columns): `odds` times as much about the malignant fraction as they hold.

        of_type : ndarray (n_columns, n_cell_types), 1 for the type of a column; within a type the shares of the
            columns are taken as they are."""
        total = amounts @ of_type
        by_column = amounts[:, :, None] * of_type
        share = np.divide(by_column, total[:, None], out=np.zeros_like(by_column), where=total[:, None] > 0)
        by_type = np.swapaxes(share, 1, 2) @ gram @ share
        size = np.trace(by_type, axis1=1, axis2=2)[:, None, None] / by_type.shape[1]
        by_type += 1e-9 * np.maximum(size, 1e-12) * np.eye(by_type.shape[1])  # a type without amount
        contrast = self.malignant - self.values[:, None]  # its product with the amounts is 0 where they agree
        variance = np.sum(contrast * np.linalg.solve(by_type, contrast[:, :, None])[:, :, 0], axis=1)
        contrast = contrast @ of_type.T
        return (odds / variance)[:, None, None] * contrast[:, :, None] * contrast[:, None, :]

    def drawn(self, fractions, random):
        """Purity as it could have been measured of samples with these fractions."""
        values = fractions[:, self.malignant].sum(axis=1) + SD * random.standard_normal(len(fractions))
        return replace(self, values=np.clip(values, 0, 1))
