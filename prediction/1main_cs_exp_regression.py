"""Train the models that predict the expression of all genes of a cell type from a slide.

Reads   <project_path>/features.h5, targets.h5, splits.json
Writes  <project_path>/results/<cell type>_preds/result_<outer>_<inner>/ (files: data/README.md)

    python prediction/1main_cs_exp_regression.py demo all all all
"""
import logging

from slide_ex import script
from slide_ex.project import targets_file
from training import cross_validation

MAX_EPOCHS, PATIENCE = 500, 50  # published: docs/method.md


def main(args):
    targets_path, targets = args.project_path / "targets.h5", []
    cell_types = targets_file.choose_cell_types(targets_path, args.cell_type)
    for cell_type in cell_types:
        try:
            targets.append(targets_file.read_expression(targets_path, cell_type))
        except ValueError as error:  # no gene left in one cell type is no reason to leave the others
            logging.error(f"failed: {error}")
    cross_validation.train(args, targets, cross_validation.config_of(args, "regression", args.pooling))
    if len(targets) < len(cell_types):
        raise ValueError(f"{len(cell_types) - len(targets)} of {len(cell_types)} cell types have no model, see above")


if __name__ == "__main__":
    parser = script.parser(__doc__)
    cross_validation.add_arguments(parser, MAX_EPOCHS, PATIENCE)
    parser.add_argument("cell_type", nargs="+", help="names as in targets.h5, Cancer or Normal for short, or all")
    parser.add_argument("--pooling", choices=["mean", "tiles"], default="mean", help=cross_validation.POOLING_HELP)
    script.run(main, parser.parse_args(), "cs_exp_regression")
