"""Which maps the command line of map_slide.py asks for."""
import dataclasses
import difflib
import logging
import re
from pathlib import Path

from slide_ex import gene_names, ids
from slide_ex.ids import counted

ABUNDANCE_UNIT = "fraction"
MAX_LISTED = 20  # outputs that a message about a wrong name still lists
N_NAMED = 3  # files of more maps are named after the first one only


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One map: an output of a target, or the mean of several."""
    target: str     # cell type or "abundance"
    name: str       # gene, cell type or program
    members: tuple  # outputs of the target whose mean it is; a gene is its own only member
    unit: str       # of its values

    @property
    def label(self):
        """Short, for columns and file names."""
        return f"{self.target} {self.name}"

    @property
    def title(self):
        """What it is, in words."""
        if self.unit == ABUNDANCE_UNIT:
            return f"Predicted fraction of {self.name}"
        of = f"mean of {len(self.members)} genes, {self.name}," if len(self.members) > 1 else self.name
        return f"Predicted {of} in {self.target}"


def add_arguments(parser):
    parser.add_argument("--cell-type", help="whose expression: name as in targets.h5, Cancer or Normal for short")
    parser.add_argument("--gene", nargs="+", default=[], help="a map of each gene")
    parser.add_argument("--program", nargs="+", default=[], type=Path, metavar="FILE",
                        help="a map of the mean over genes, listed in a file one a line")
    parser.add_argument("--abundance", nargs="+", default=[], metavar="CELL_TYPE",
                        help="a map of each cell type's share")
    parser.add_argument("--limits", nargs=2, type=float, metavar=("LOW", "HIGH"),
                        help="ends of the colours of every map, so that maps of several slides can be compared; by "
                             "default those of the slide's values, of fractions from 0")
    parser.add_argument("--name", help="of the files; by default what is drawn")


def target_names(args):
    """Targets that are asked for; ValueError when nothing is, for a cell type without a gene or the reverse, ..."""
    if args.limits and not args.limits[0] < args.limits[1]:
        raise ValueError(f"--limits {args.limits[0]:g} {args.limits[1]:g}: give the lower end first")
    if bool(args.cell_type) != bool(args.gene or args.program):
        raise ValueError("--cell-type goes together with --gene or --program: give both, or only --abundance")
    if not (args.cell_type or args.abundance):
        raise ValueError("nothing to draw: give --cell-type with --gene or --program, or --abundance")
    if args.cell_type in ("abundance", "direct"):
        raise ValueError(f"'{args.cell_type}' is no cell type: give --abundance with cell types instead")
    targets = [args.cell_type] if args.cell_type else []
    return [*targets, "abundance"] if args.abundance else targets


def wanted_maps(args, outputs, unit):
    """The maps in the order of the command line.

    outputs : dict of target to what its models predict; unit : of expression
    """
    maps = []
    if args.cell_type:
        cell_type = ids.cell_type(args.cell_type, outputs)
        maps += [Wanted(cell_type, gene, (gene,), unit) for gene in args.gene]
        maps += [Wanted(cell_type, path.stem, read_program(path, outputs[cell_type]), unit) for path in args.program]
    for name in args.abundance:
        name = ids.cell_type(name, outputs["abundance"])
        maps.append(Wanted("abundance", name, (name,), ABUNDANCE_UNIT))
    for one in maps:
        for member in one.members:
            check_known(member, outputs[one.target], one.target)
    return list(dict.fromkeys(maps))  # what is named twice is drawn once


def read_program(path, genes):
    """Those of the genes in a file, one a line, that are predicted; ValueError when none is."""
    listed = gene_names.read_list(path)
    known = tuple(gene for gene in listed if gene in set(genes))
    if not known:
        raise ValueError(f"{path}: none of {counted(listed)} is predicted, one gene a line is needed")
    if len(known) < len(listed):
        logging.info(f"{path.stem}: not predicted, left out: "
                     f"{counted([gene for gene in listed if gene not in known])}")
    return known


def check_known(name, outputs, target):
    """ValueError for a name that no model predicts, with what looks like it."""
    if name not in outputs:
        alike = difflib.get_close_matches(name, outputs, n=3)
        raise ValueError(f"the models of {target} do not predict '{name}', but {len(outputs):,} others"
                         + (f": did you mean {', '.join(alike)}?" if alike else
                            f": {', '.join(outputs)}" if len(outputs) <= MAX_LISTED else ""))


def file_name(maps, name):
    """Name of the files, without slashes and leading dots, whatever the genes are called."""
    if not name:
        named = [one.label for one in maps[:N_NAMED if len(maps) <= N_NAMED else 1]]
        name = ", ".join(named) + (f" and {len(maps) - 1} more" if len(maps) > N_NAMED else "")
    return re.sub(r"[^\w .,+()-]", "_", name).lstrip(".")
