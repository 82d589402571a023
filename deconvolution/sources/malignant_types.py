"""Which cell types are malignant: as the user says, or by their names; never guessed from values."""
import re

from slide_ex.ids import some, with_near_matches

MALIGNANT = {"cancer", "malignant", "malignancy", "tumor", "tumour", "neoplastic", "carcinoma", "adenocarcinoma",
             "melanoma", "glioma", "glioblastoma", "sarcoma", "mal"}
BESIDE = {"cell", "epithelial", "epithelium", "stem", "cycling", "breast", "lung", "skin", "colon", "colorectal",
          "ovarian", "prostate", "liver", "kidney", "renal", "pancreatic", "gastric", "urothelial", "squamous"}
# words that may stand beside: "Cancer-associated fibroblasts", "Non-malignant" and "Tumor macrophages" have others


def of(cell_types, stated=()):
    """The malignant ones of cell types: `stated`, or those whose name says so (none: an empty list).

    Raises ValueError for a stated one that is no cell type, and where all would be malignant.
    """
    unknown = [name for name in stated if name not in cell_types]
    if unknown:
        raise ValueError(f"--malignant {with_near_matches(unknown, cell_types)} is no cell type of the signature; "
                         f"there are {some(cell_types, 20)}")
    found = [name for name in cell_types if name in stated or (not stated and says_so(name))]
    if len(found) == len(cell_types):
        raise ValueError("all cell types of the signature would be malignant: give those that are with --malignant")
    return found


def says_so(name):
    """Whether the name of a cell type is made of words for malignant cells alone."""
    words = {word.removesuffix("s") for word in re.findall(r"[a-z]+", name.lower())}
    return bool(words & MALIGNANT) and words <= MALIGNANT | BESIDE
