"""What a demo cohort is made from: the biology that all cohorts share, and patients drawn from it.

The biology (profiles of the cell types, programmes of genes) is drawn once from a fixed seed, so that cohorts of
different seeds differ only in their patients. A patient has three states, each standard normal:

    grade           tumour cells lose order: large, uneven nuclei and proliferation genes
    inflammation    more and activated lymphocytes, plasma cells and macrophages; interferon genes
    stroma          stromal reaction: more fibroblasts, dense wavy collagen; matrix genes

States shift the cell fractions and, within a cell type, the genes of its programme. Bulk tissue is the sum over
cell types of fraction x expression, with noise on every value.
"""
import numpy as np
import pandas as pd

CELL_TYPES = ["B-cells", "CAFs", "Cancer Epithelial", "Endothelial", "Myeloid", "Normal Epithelial", "PVL",
              "Plasmablasts", "T-cells"]
STATES = ["grade", "inflammation", "stroma"]
BIOLOGY_SEED = 2021

# Typical fraction of cells, its spread between patients (sd of the log) and shift by one sd of each of STATES (log).
FRACTIONS = pd.DataFrame.from_dict({
    "B-cells": (.05, 1.0, .00, .45, .00),
    "CAFs": (.20, .70, .00, .00, .40),
    "Cancer Epithelial": (.38, .60, .10, .00, .00),
    "Endothelial": (.09, .95, .00, .00, .00),
    "Myeloid": (.08, .80, .00, .25, .00),
    "Normal Epithelial": (.08, 1.1, -.20, .00, .00),
    "PVL": (.05, .90, .00, .00, .15),
    "Plasmablasts": (.04, 1.0, .00, .40, .00),
    "T-cells": (.11, .90, .00, .45, .00),
}, orient="index", columns=["typical", "spread", *STATES])

MARKERS = {
    "B-cells": "CD19 CD79A CD79B MS4A1 CD22 PAX5 BANK1 FCRL1 BLK VPREB3 TCL1A CD37",
    "CAFs": "DCN LUM COL1A1 COL1A2 COL3A1 PDGFRA FAP PDPN SFRP2 CTHRC1 FBLN1 MMP2 POSTN FN1 SPARC THY1 COL5A1 COL6A3",
    "Cancer Epithelial": "EPCAM KRT8 KRT18 KRT19 ERBB2 ESR1 GATA3 MUC1 XBP1 TFF1 TFF3 AGR2 CLDN4 ELF3 SPDEF FOXA1",
    "Endothelial": "PECAM1 VWF CDH5 CLDN5 FLT1 KDR TEK TIE1 EMCN PLVAP ESAM ROBO4",
    "Myeloid": "CD68 CD14 LYZ CD163 CSF1R AIF1 FCGR3A C1QA C1QB MRC1 ITGAX TYROBP S100A8 S100A9",
    "Normal Epithelial": "KRT14 KRT5 KRT17 ACTG2 OXTR LTF PIGR SLPI TP63 ELF5 KIT KRT15",
    "PVL": "RGS5 MCAM NOTCH3 CSPG4 KCNJ8 ABCC9 MYH11 DES PDGFRB STEAP4 HIGD1B NDUFA4L2",
    "Plasmablasts": "JCHAIN MZB1 IGKC IGHG1 IGHA1 SDC1 DERL3 TNFRSF17 POU2AF1 FKBP11 PRDM1 SSR4",
    "T-cells": "CD3D CD3E CD3G CD2 CD7 CD8A CD8B IL7R TRAC TRBC1 LCK CD247 GZMK CCL5",
}

# Per state and cell type: share of the genes in the programme, shift of ln expression by one sd of the state.
PROGRAMMES = {
    "grade": {"Cancer Epithelial": (.30, .9), "Endothelial": (.15, .5), "Normal Epithelial": (.10, .5)},
    "inflammation": {"T-cells": (.25, .8), "Myeloid": (.25, .8), "B-cells": (.20, .6), "Plasmablasts": (.20, .6),
                     "Cancer Epithelial": (.12, .6), "CAFs": (.10, .5)},
    "stroma": {"CAFs": (.30, .9), "PVL": (.20, .6), "Endothelial": (.15, .6), "Cancer Epithelial": (.08, .5)},
}
MARKER_SHARE = .06          # share of the genes that one cell type has as markers
PATIENT_SD = .25            # of ln expression, per gene, cell type and patient: what no state explains
N_DONORS = 8                # donors of the signature and the reference
SIGNATURE_GENES = 30        # per cell type

# What drives response to chemotherapy, by --response: log odds of pCR by one sd of a state, or by one unit of the
# natural logarithm of a fraction. Both laws are about as strong (sd of the log odds 3.4: little is left to chance, so
# what limits a predictor is what slides tell), and both use what untrained features can see, which inflammation and
# lymphocytes are not. High grade responds and reactive stroma resists by the state of the cells, whatever their number;
# vessels bring the drug to the tumour by their number, whatever their state.
RESPONSE = {"states": {"grade": 1.5, "stroma": -3.0}, "composition": {"Endothelial": 3.0, "Cancer Epithelial": -3.0}}
RESPONSE_RATE = .4


def biology(n_genes):
    """The profiles and programmes that all cohorts share.

    Returns
    -------
    genes : list of str
        Symbols of well-known markers first, then invented names.
    profiles : ndarray (n_cell_types, n_genes)
        ln expression when all states are 0.
    programmes : ndarray (n_states, n_cell_types, n_genes)
        Shift of ln expression by one sd of the state.
    """
    rng = np.random.default_rng([BIOLOGY_SEED, n_genes])
    known = [(gene, k) for k, cell_type in enumerate(CELL_TYPES) for gene in MARKERS[cell_type].split()]
    n_invented = n_genes - len(known)
    genes = [gene for gene, _ in known] + [f"GENE{i:04d}" for i in range(1, n_invented + 1)]
    marked_type = rng.choice(len(CELL_TYPES) + 1, n_invented, p=[MARKER_SHARE] * 9 + [1 - 9 * MARKER_SHARE])
    owner = np.concatenate([[k for _, k in known], marked_type])  # the number of cell types: marks none
    profiles = rng.normal(0, 1.2, n_genes) + rng.normal(0, .4, (len(CELL_TYPES), n_genes))
    is_marker = owner == np.arange(len(CELL_TYPES))[:, None]
    profiles += np.where(is_marker, rng.uniform(1.5, 3.5, n_genes), np.where(owner < len(CELL_TYPES), -.5, 0))

    programmes = np.zeros((len(STATES), len(CELL_TYPES), n_genes))
    for state, members in PROGRAMMES.items():
        for cell_type, (share, strength) in members.items():
            k = CELL_TYPES.index(cell_type)
            weight = np.exp(profiles[k] - np.logaddexp.reduce(profiles))  # a programme prefers what the type expresses
            chosen = rng.choice(n_genes, round(share * n_genes), replace=False, p=weight / weight.sum())
            sign = rng.choice([1, -1], len(chosen), p=[.7, .3])
            programmes[STATES.index(state), k, chosen] = sign * strength * rng.uniform(.5, 1.2, len(chosen))
    return genes, profiles, programmes


def gene_sets(genes, programmes):
    """dict of name to genes: the markers of each cell type, and the genes that a state raises in a cell type."""
    sets = {f"MARKERS_OF_{cell_type}": MARKERS[cell_type].split() for cell_type in CELL_TYPES}
    for (state, k), shifts in ((place, programmes[place]) for place in np.ndindex(programmes.shape[:2])):
        if (shifts > 0).any():
            sets[f"{STATES[state]}_IN_{CELL_TYPES[k]}"] = [gene for gene, shift in zip(genes, shifts) if shift > 0]
    return {name.upper().replace(" ", "_").replace("-", "_"): members for name, members in sets.items()}


def draw_states(rng, n):
    """States of n people, columns STATES, standard normal."""
    return pd.DataFrame(rng.standard_normal((n, len(STATES))), columns=STATES)


def draw_fractions(rng, states):
    """Cell fractions (n_people, n_cell_types) given their states; rows sum to 1."""
    log = np.log(FRACTIONS["typical"].to_numpy()) + states.to_numpy() @ FRACTIONS[STATES].to_numpy().T
    log += rng.standard_normal(log.shape) * FRACTIONS["spread"].to_numpy()
    fractions = np.exp(log)
    return pd.DataFrame(fractions / fractions.sum(1, keepdims=True), index=states.index, columns=CELL_TYPES)


def draw_expression(rng, states, profiles, programmes):
    """Expression of each cell type in each person: (n_cell_types, n_genes, n_people), TPM: columns sum to 1e6."""
    log = profiles[:, :, None] + np.einsum("skg,is->kgi", programmes, states.to_numpy())
    log += PATIENT_SD * rng.standard_normal(log.shape)
    expression = np.exp(log)
    return (1e6 * expression / expression.sum(1, keepdims=True)).astype(np.float32)


def mix(fractions, expression, noise_sd=0., rng=None):
    """Bulk tissue (n_genes, n_people), TPM: sum over cell types of fraction x expression, lognormal noise."""
    bulk = np.einsum("ik,kgi->gi", fractions.to_numpy(), expression.astype(np.float64))
    if noise_sd:
        bulk *= np.exp(noise_sd * rng.standard_normal(bulk.shape))
    return 1e6 * bulk / bulk.sum(0)


def draw_reference(rng, genes, profiles, programmes):
    """Mean expression of N_DONORS other people: all genes x cell types, and its rows that mark one type best."""
    donors = draw_expression(rng, draw_states(rng, N_DONORS), profiles, programmes)
    reference = pd.DataFrame(donors.mean(2).T, index=genes, columns=CELL_TYPES)
    markers = set()
    for cell_type in CELL_TYPES:
        lead = np.log(reference[cell_type]) - np.log(reference.drop(columns=cell_type).max(axis=1))
        markers.update(lead.nlargest(SIGNATURE_GENES).index)
    return reference, reference.loc[[gene for gene in genes if gene in markers]]


def draw_response(rng, states, fractions, law):
    """pCR or RD of each person: logistic in what drives it by a `law` of RESPONSE; RESPONSE_RATE of pCR on average."""
    drivers = pd.concat([states, np.log(fractions)], axis=1)
    logit = drivers[list(RESPONSE[law])].to_numpy() @ list(RESPONSE[law].values())
    shifts = np.linspace(-15, 15, 3001)
    rate = (1 / (1 + np.exp(-(logit + shifts[:, None])))).mean(1)
    probability = 1 / (1 + np.exp(-(logit + shifts[np.abs(rate - RESPONSE_RATE).argmin()])))
    return np.where(rng.random(len(states)) < probability, "pCR", "RD")
