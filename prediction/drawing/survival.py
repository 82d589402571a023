"""Figure 7: survival by tertiles of scores of patients by models that never saw them, the best of each kind."""
from drawing import style
from drawing.response import KIND_COLOURS, MADE_BY
from drawing.style import BLUE, GREY, RED
from slide_ex import text_table

N_COLUMNS = 3
GROUP_COLOURS = {"low": BLUE, "middle": GREY, "high": RED}


def survival(project):
    """Kaplan-Meier curves with 95 % bands; a panel for the feature set of each kind that has the highest C."""
    panels = [(folder, row) for folder in sorted(project.glob("survival/*")) if (folder / "comparison.csv").is_file()
              for row in best_of_kinds(text_table.read_results(folder / "comparison.csv", MADE_BY))]
    figure, axes = style.small_multiples(len(panels), N_COLUMNS, 1.7, sharey=True)
    for axis, (folder, row) in zip(axes, panels):
        curves = text_table.read_results(folder / "kaplan_meier.csv", MADE_BY)
        for name, curve in curves[curves["features"] == row["features"]].groupby("group", sort=False):
            colour = GROUP_COLOURS[name]
            axis.step(curve["time"], curve["survival"], where="post", color=colour,
                      label=f"{name}: {curve['n_events'].sum()} of {curve['n_at_risk'].iloc[0]}")
            axis.fill_between(curve["time"], curve["survival_low"], curve["survival_high"], step="post", color=colour,
                              alpha=0.15, linewidth=0)
        axis.set(title=f"{row['features']}, {folder.name.replace('_', ' ')}\nC {row['c_index']:.2f} "
                       f"[{row['c_index_low']:.2f}, {row['c_index_high']:.2f}], log-rank p {row['p_log_rank']:.2g}",
                 ylim=(0, 1.02), xlim=(0, None))
        axis.legend(loc="upper right")
    figure.supxlabel("Time, as in clinical.csv (tertiles of the score: events of patients)")
    figure.supylabel("Share without event")
    return figure


def best_of_kinds(table):
    """The row of each kind with the highest C, in the order of the kinds; list of Series."""
    best = table.sort_values("c_index", ascending=False).drop_duplicates("kind").set_index("kind", drop=False)
    return [best.loc[kind] for kind in KIND_COLOURS if kind in best.index]
