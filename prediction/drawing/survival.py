"""Figure 7: survival by tertiles of scores of patients by models that never saw them, one of each kind."""
from drawing import captions, marks, style
from drawing.response import MADE_BY, best_of_kinds, name_of
from slide_ex import text_table

N_COLUMNS = 3
GROUPS = "low", "middle", "high"
NAME_LETTERS = 34  # in a line of a panel's title


def survival(project):
    """Kaplan-Meier curves with 95 % bands; a panel for the feature set of each kind that has the highest C."""
    panels = [(folder, *chosen) for folder in sorted(project.glob("survival/*"))
              if (folder / "comparison.csv").is_file()
              for chosen in best_of_kinds(text_table.read_results(folder / "comparison.csv", MADE_BY), "c_index")]
    figure, axes = style.small_multiples(len(panels), N_COLUMNS, 2, sharey=True)
    said = []
    for axis, (folder, row, of_many) in zip(axes, panels):
        curves = text_table.read_results(folder / "kaplan_meier.csv", MADE_BY)
        curves = dict(iter(curves[curves["features"] == row["features"]].groupby("group")))
        for group in filter(curves.__contains__, GROUPS):
            step(axis, curves[group], marks.of(group))
        c = captions.interval(*row[["c_index", "c_index_low", "c_index_high"]])
        p, setting = captions.p_value(row["p_log_rank"]), folder.name.replace("_", " ")
        name = f"{name_of(row['features'])}{'*' * of_many}, {setting}"
        axis.set(title=f"{style.broken(name, NAME_LETTERS)}\nC = {c}\nLog-rank {p}", ylim=(0, 1.02), xlim=(0, None))
        axis.legend(loc="upper right")
        said.append(f"{row['features']} ({setting}{', best of its kind' * of_many}): C {c}, {p}")
    figure.supxlabel("Time, as in clinical.csv (tertiles of the score: events of patients)")
    figure.supylabel("Share without event")
    words = ("Kaplan-Meier curves of the tertiles of the score, with 95 % bands (Greenwood, log(-log)); in the legends "
             f"the events of the patients of each. {'; '.join(said)}.")
    some = any(of_many for *_, of_many in panels)
    return style.Drawn(figure, "Survival by tertiles of scores predicted from slides", [(axes[0], words)],
                       "C: Harrell's, with 95 % interval over resampled patients; p: log-rank test of the three "
                       "groups, not corrected."
                       + " *: best of its kind on these patients, so its C leans upwards." * some)


def step(axis, curve, mark):
    """One curve with its band."""
    axis.step(curve["time"], curve["survival"], where="post", color=mark.colour, linestyle=mark.line,
              label=f"{mark.label}: {curve['n_events'].sum()} of {curve['n_at_risk'].iloc[0]}")
    axis.fill_between(curve["time"], curve["survival_low"], curve["survival_high"], step="post", color=mark.colour,
                      alpha=0.15, linewidth=0)
