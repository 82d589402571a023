"""Tables of expression as people have them: what is read, and a wrong declaration that is never silent."""
import gzip
import pathlib

import numpy as np
import pandas as pd
import pytest

from slide_ex import expression_scale, gene_names, gene_table, numeric_table, text_table

PATIENTS = [f"P-{i:02d}" for i in range(12)]


def tpm(n_genes=400, seed=0):
    """Genes x patients that add up to a million, with zeros and many values below 1."""
    random = np.random.default_rng(seed)
    values = random.lognormal(0, 3, (n_genes, 1)) * random.lognormal(0, .5, (n_genes, len(PATIENTS)))
    values[random.random(values.shape) < .2] = 0
    return pd.DataFrame(values / values.sum(0) * 1e6, [f"GENE{g}" for g in range(n_genes)], PATIENTS)


PATH = pathlib.Path("t.tsv")    # for messages


def linear(table, *declared, **more):
    return expression_scale.linear(table, PATH, expression_scale.Declared(*declared, is_bulk=True, **more))


@pytest.mark.parametrize("offset", [1, .001, .01])
def test_the_right_declaration_gives_back_the_values(offset):
    table, notes = linear(np.log2(tpm() + offset).round(4), offset)
    np.testing.assert_allclose(table, tpm(), rtol=2e-4, atol=offset * 2e-4)
    assert notes == []


@pytest.mark.parametrize("made, declared, words", [
    (lambda t: np.log2(t + .001), 1, "give --log2 0.001"),
    (lambda t: np.log2(t + .001).round(2), 1, "give --log2 0.001"),
    (lambda t: np.log2(t + 1), .001, "give --log2 1"),
    (lambda t: np.log2(t + .01), .001, "give --log2 0.01"),
    (lambda t: np.log(t + 1), 1, "natural logarithm of x + 1"),
    (lambda t: np.log10(t + 1), 1, "log10(x + 1)"),
    (lambda t: np.log2(np.log2(t + 1) + 1), 1, "logarithms still"),
    (lambda t: np.log2(t + 1) / 2 + 4, 1, "give TPM"),
    (lambda t: t, 1, "leave out --log2"),
    (lambda t: np.log2(t + 1).sub(np.log2(t + 1).mean(axis=1), axis=0), 1, "centred"),
    (lambda t: np.log2(t + 1), None, "log2(x + 1) fits"),
    (lambda t: np.log(t + 1), None, "natural logarithm of x + 1 fits"),
    (lambda t: np.log2(t + .001), None, "log2(x + 0.001) fits"),
    (lambda t: np.log2(t + 1), 0, "above 0")])
def test_a_wrong_declaration_is_refused_and_the_right_one_named(made, declared, words):
    with pytest.raises(ValueError) as refused:
        linear(made(tpm()), declared)
    assert words in str(refused.value)


def test_shares_are_no_logarithms():
    shares = pd.DataFrame({"T-cells": [.2, .8], "CAFs": [.5, .5]}, ["A", "B"])
    with pytest.raises(ValueError, match="signature.tsv: values from 0.2 to 0.8: they look like shares: give TPM"):
        expression_scale.linear(shares, "signature.tsv", expression_scale.Declared())


@pytest.mark.parametrize("made", [lambda t: np.log2(t + 1), lambda t: np.log(t + 1), lambda t: np.log10(t + 1)])
def test_a_sample_of_logarithms_among_linear_ones_is_named(made):
    table = tpm().assign(**{"P-04": lambda t: made(t["P-04"]), "P-07": lambda t: made(t["P-07"])})
    for first, more in ((0, {}), (-2.5, {"clip_negative": True})):
        table.iloc[0, 0] = first
        with pytest.raises(ValueError, match="P-04, P-07 look like logarithms, the other samples do not"):
            linear(table, **more)


@pytest.mark.parametrize("made", [lambda t: t / 1e6, lambda t: t / 1e4, lambda t: t / t.max() * 20, lambda t: t * 0])
def test_a_linear_sample_in_another_unit_passes(made):
    table = tpm().assign(**{"P-04": lambda t: made(t["P-04"])})
    assert linear(table)[0].equals(table)


def test_few_negative_values_among_linear_ones_have_their_own_words():
    table = tpm()
    table.iloc[:3, 4] = -2.5
    with pytest.raises(ValueError, match="batch correction.*--clip-negative"):
        linear(table)
    clipped, notes = linear(table, clip_negative=True)
    np.testing.assert_array_equal(clipped, tpm().where(table >= 0, 0))
    assert "3 negative values" in notes[0]
    with pytest.raises(ValueError, match="too many"):
        linear(table.sub(table.quantile(.5), axis=1), clip_negative=True)


@pytest.mark.parametrize("n_genes, total, is_told", [
    (400, .2e6, False), (400, 1.2e6, False), (400, 1.6e6, True), (15000, .3e6, True), (15000, .5e6, False),
    (15000, 1.2e6, True)])
def test_totals_that_no_tpm_have_are_told(n_genes, total, is_told):
    """Few genes may add up to less than a million, never to much more; all protein-coding ones add up to most of it."""
    notes = linear(tpm(n_genes) * (total / 1e6))[1]
    assert bool(notes) == is_told and all(f"the samples add up to {total:.3g}" in note for note in notes)


def test_counts_are_named_and_become_tpm_with_lengths():
    random = np.random.default_rng(1)
    lengths = pd.Series(random.integers(300, 9000, 400).astype(str), tpm().index)
    counts = tpm().mul(lengths.astype(float), axis=0) / 1e3
    assert "these look like counts" in linear(counts.round())[1][0]
    np.testing.assert_allclose(expression_scale.tpm(counts, lengths, "t"), tpm())
    with pytest.raises(ValueError, match="GENE7"):
        expression_scale.tpm(counts, lengths.replace({lengths["GENE7"]: "-"}), "t")


# The file

TABLE = tpm(20).round(3)


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def as_text(separator="\t", header="gene", **more):
    return TABLE.to_csv(sep=separator, index_label=header, **more)


@pytest.mark.parametrize("name, content", [
    ("t.tsv", as_text()), ("t.csv", as_text(",")), ("t.csv", as_text(";")), ("t.tsv", as_text(",")),
    ("t.csv", as_text()),
    ("t.txt", as_text(header=False)), ("t.txt", as_text(" ")),
    ("t.txt", as_text(" ", quoting=2).replace('"gene" ', "")), ("t.tsv", "\n" + as_text()),
    ("t.tsv", as_text().replace("\n", "\r\n")),
    ("t.tsv", "#1.2\n20\t12\n" + TABLE.assign(Description="x")[["Description", *PATIENTS]].to_csv(
        sep="\t", index_label="Name")),
    ("t.tsv", "# made by a tool\n" + as_text()), ("t.csv", "sep=;\n" + as_text(";")),
    ("t.csv", as_text(",").replace("\n", ",,\n")),
    ("t.tsv", TABLE.assign(baseMean=2.5, log2FoldChange=-1.5, padj="NA").to_csv(sep="\t", index_label="gene")),
    ("t.tsv", TABLE.assign(Entrez_Gene_Id=range(20), Length=500).to_csv(sep="\t", index_label="Hugo_Symbol")),
    ("t.tsv", '"' + as_text().replace("\t", '"\t"').replace("\n", '"\n"')[:-1])])
def test_the_layout_of_a_file_is_found(tmp_path, name, content):
    genes = gene_table.read(written(tmp_path / name, content))
    pd.testing.assert_frame_equal(genes.values, TABLE, check_names=False, check_dtype=False)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_are_found(tmp_path, encoding):
    names = ["Patient.ID,Site", "P1,Köln", "P2,Orléans"]
    table = text_table.read_strings(written(tmp_path / "c.csv", "\n".join(names), encoding), "a table")
    assert table.to_dict("list") == {"Patient.ID": ["P1", "P2"], "Site": ["Köln", "Orléans"]}


def test_what_is_packed_is_known_by_its_content(tmp_path):
    (tmp_path / "t.tsv").write_bytes(gzip.compress(as_text().encode()))
    assert numeric_table.read(tmp_path / "t.tsv").shape == TABLE.shape
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(as_text().encode())[:-30])
    with pytest.raises(ValueError, match="no table of text"):
        numeric_table.read(tmp_path / "t.tsv.gz")


@pytest.mark.parametrize("content, words", [
    (as_text(decimal=","), "decimal commas.*'[0-9]+,[0-9]+' of GENE"), (as_text()[:-40], "cut off"),
    (as_text().replace("P-03", "P-02"), "twice: P-02"), ("PK\x03\x04abc", "Excel"), ("<!DOCTYPE html>", "web page"),
    ("", "it is empty"), ("gene\tP1\n", "no rows"), ("#1.2\n21\t12\n" + TABLE.assign(Description=1)[
        ["Description", *PATIENTS]].to_csv(sep="\t", index_label="Name"), "cut off"),
    (as_text().replace("GENE3\t", "GENE3\tx"), "no number.*GENE3"),
    (TABLE.assign(kept=True).to_csv(sep="\t", index_label="gene"), "no number.*True.*kept"),
    ("gene\nA\nB\n", "one column"),
    (TABLE.assign(ids=range(5000, 5020)).to_csv(sep="\t", index_label="gene"), "ids hold whole numbers"),
    (TABLE.reset_index(drop=True).to_csv(sep="\t"), "first column holds numbers")])
def test_what_is_no_table_of_numbers_is_one_clear_line(tmp_path, content, words):
    with pytest.raises(ValueError, match=words):
        gene_table.read(written(tmp_path / "t.tsv", content))


# Names

def test_barcodes_in_r_are_barcodes(tmp_path):
    table = TABLE.iloc[:, :2].set_axis(["TCGA.A1.A0SB.01A.11R.A144.07", "TCGA-A1-A0SD-01"], axis=1)
    table.to_csv(tmp_path / "t.csv")
    assert list(numeric_table.read(tmp_path / "t.csv")) == ["TCGA-A1-A0SB-01A-11R-A144-07", "TCGA-A1-A0SD-01"]
    assert gene_table.samples(tmp_path / "t.csv") == list(numeric_table.read(tmp_path / "t.csv"))


def test_rows_that_are_no_genes_are_left_out_and_counted(tmp_path):
    names = [*TABLE.index[:-5], "", "NA", "__no_feature", "N_unmapped", "__alignment_not_unique"]
    table = TABLE.set_axis(names)
    table.iloc[3] = np.nan
    genes = gene_table.read(written(tmp_path / "t.tsv", table.to_csv(sep="\t", index_label="gene", na_rep="NA")))
    assert list(genes.values.index) == [*names[:3], *names[4:-5]] and len(genes.annotation) == len(genes.values)
    assert [note[12:] for note in genes.notes] == [
        "without a name left out: 2 ('', NA)", "without any value left out: 1 (GENE3)",
        "of reads in no gene left out: 3 (__no_feature, N_unmapped, __alignment_not_unique)"]
    genes.values.iloc[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"values in P-02 \(of 1 \(GENE8\)\)"):
        numeric_table.refuse_missing(genes.values, PATH)
    with pytest.raises(ValueError, match="all rows are without a name"):
        gene_table.read(written(tmp_path / "t.tsv", TABLE.set_axis(["NA"] * 20).to_csv(sep="\t", index_label="gene")))


@pytest.mark.parametrize("copy", ["ENSGR0000002586.2", "ENSG00000002586.20_PAR_Y"])
def test_copies_on_chromosome_y_leave_the_gene(copy):
    table = pd.DataFrame([[50.], [0.], [9.]], ["ENSG00000002586.20", copy, "ENSG00000000003"], ["P1"])
    gene_map = pd.DataFrame({"gene_id": ["ENSG00000002586", copy, "ENSG00000000003"],
                             "gene_name": ["CD99", "CD99", "TSPAN6"]})
    found, notes = gene_table.checked(table, PATH, gene_map)
    assert found["P1"].to_dict() == {"CD99": 50, "TSPAN6": 9} and "chromosome Y" in notes[0]


def test_names_that_are_two_and_names_that_were_dates(tmp_path):
    written(tmp_path / "t.tsv", "g\tP1\nA1BG|1\t30\n?|1001\t2\n" + "".join(f"G{i}|{i}\t{i}\n" for i in range(30)))
    genes = gene_table.read(tmp_path / "t.tsv")
    assert genes.values.index[0] == "A1BG" and "" not in genes.values.index and len(genes.values) == 31
    table = pd.DataFrame({"P1": [30., 2, 3, 4]}, ["ESR1", "1-Mar", "Sep-02", "2022-12-01"])
    found, notes = gene_table.checked(table, PATH)
    assert list(found.index) == ["ESR1"] and "1-Mar, Sep-02, 2022-12-01" in notes[0]


def test_the_symbols_beside_ids_are_used(tmp_path):
    written(tmp_path / "t.csv", "gene_id,gene_name,gene_type,P1\nENSG00000000003.1,TSPAN6,protein_coding,40\n"
                                "ENSG00000000005.6,TNMD,protein_coding,2\n")
    found, _ = gene_table.checked(gene_table.read(tmp_path / "t.csv"), tmp_path / "t.csv")
    assert found["P1"].to_dict() == {"TSPAN6": 40, "TNMD": 2}
    written(tmp_path / "t.gct", "#1.2\n2\t1\nName\tDescription\tP1\nENSG00000000003.1\tTSPAN6\t40\n"
                                "ENSG00000000005.6\tTNMD\t2\n")     # GTEx
    found, _ = gene_table.checked(gene_table.read(tmp_path / "t.gct"), tmp_path / "t.gct")
    assert found["P1"].to_dict() == {"TSPAN6": 40, "TNMD": 2}


@pytest.mark.parametrize("header", ["ensembl_gene_id,hgnc_symbol,gene_biotype", "id,gene,gene_type",
                                    "Gene stable ID version,Gene name,Gene type",
                                    "ensembl_gene_id_version;external_gene_name;gene_biotype"])
def test_gene_maps_of_several_tools(tmp_path, header):
    separator, row = ";" if ";" in header else ",", ["ENSG00000000003.1", "TSPAN6", "protein_coding"]
    written(tmp_path / "m.csv", f"{header}\n{separator.join(row)}\n")
    found = gene_names.read_gene_map(tmp_path / "m.csv")
    assert found.loc[0].to_dict() == dict(zip(["gene_id", "gene_name", "gene_type"], row))


def test_older_symbols_are_suspected_both_ways():
    known = ["SEPTIN6", "CTGF", "ESR1"]
    assert gene_names.with_other_symbols(["SEPT6", "CCN2", "XYZ"], known) == "SEPT6 (SEPTIN6?), CCN2 (CTGF?), XYZ"


# The scripts

@pytest.fixture
def cohort(tmp_path):
    pd.DataFrame({"Filename": "", "Patient.ID": PATIENTS}).to_csv(tmp_path / "cohort.csv", index=False)
    return tmp_path


def prepare(run_script, cohort, *more):
    return run_script("data/prepare_cohort.py", cohort / "p", "--table", cohort / "cohort.csv", "--expression",
                      cohort / "x.tsv", *more)


def test_toil_is_refused_and_read_as_it_should(cohort, run_script):
    """The case that set every TPM below 1 to zero."""
    np.log2(tpm() + .001).to_csv(cohort / "x.tsv", sep="\t")
    done = prepare(run_script, cohort, "--log2")
    assert done.returncode == 1 and "--log2 0.001" in done.stderr and done.stderr.count("\n") == 1
    done = prepare(run_script, cohort, "--log2", "0.001")
    assert done.returncode == 0, done.stderr
    bulk = pd.read_csv(cohort / "p" / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    there = tpm().loc[bulk.index].to_numpy()
    low = (there > .01) & (there < 1)
    assert low.sum() > 100
    np.testing.assert_allclose(bulk.to_numpy()[low], there[low], rtol=1e-3)


def test_counts_with_a_length_column(cohort, run_script):
    lengths = np.arange(1000, 1400)
    (tpm().mul(lengths, axis=0)).round().assign(Length=lengths).to_csv(cohort / "x.tsv", sep="\t", index_label="Geneid")
    done = prepare(run_script, cohort)
    assert done.returncode == 0 and "these look like counts" in done.stdout
    done = prepare(run_script, cohort, "--counts", "--overwrite")
    assert done.returncode == 0, done.stderr
    bulk = pd.read_csv(cohort / "p" / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    np.testing.assert_allclose(bulk.sum(), 1e6, rtol=1e-5)
    np.testing.assert_allclose(bulk, tpm().loc[bulk.index], rtol=1e-2, atol=.01)
