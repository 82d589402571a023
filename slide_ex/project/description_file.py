"""project.json, what the user says of a project once: its tissue, and how clinical.csv words a response.

    {"tissue": "lung", "response_column": "Response", "responders": ["pCR", "RCB-0"], "non_responders": ["RD"]}

Entries that nobody said are absent. Scripts that take the options write the file; all others read it.
"""
from dataclasses import dataclass

from slide_ex import record
from slide_ex.ids import some
from slide_ex.project import clinical_words

NAME = "project.json"
MADE_BY = "any script that takes --tissue or --responders"
RESPONDERS, NON_RESPONDERS = ("pCR",), ("RD",)   # pathological complete response, residual disease
COLUMN = "Response"
LISTS = "responders", "non_responders"


@dataclass(frozen=True)
class Description:
    """The file, with defaults for what nobody said."""
    tissue: str = ""
    response_column: str = COLUMN
    responders: tuple = RESPONDERS
    non_responders: tuple = NON_RESPONDERS

    @property
    def responder(self):
        """The user's word for a response, for figures: 'pCR', or 'pCR or RCB-0'."""
        return " or ".join(self.responders)

    @property
    def non_responder(self):
        return " or ".join(self.non_responders)

    def number(self, word):
        """1 for a response, 0 for none, None for a missing one; ValueError for another word."""
        if clinical_words.is_missing(word):
            return None
        if word in self.responders or word in self.non_responders:
            return float(word in self.responders)
        raise ValueError(word)


def read(project):
    """Description of a project folder."""
    return of_content(read_content(project), project / NAME)


def read_content(project):
    """The file as a dict, empty where there is none."""
    return record.read(project / NAME, MADE_BY, of_user=True) if (project / NAME).is_file() else {}


def of_content(content, where):
    """Description of a dict as it stands in the file; ValueError for what `check` refuses."""
    refuse_other_entries(content, where)
    made = Description(**{name: tuple(value) if name in LISTS else value for name, value in content.items()})
    check(made, where)
    return made


def refuse_other_entries(content, where):
    """ValueError for an entry that is none of the above, or holds something else than a text, or a list of texts."""
    known = Description.__dataclass_fields__.keys()
    if other := sorted(set(content) - set(known)):
        raise ValueError(f"{where}: {some(map(repr, other))} is no entry; there are {', '.join(known)}")
    for name in content.keys() & known:
        texts = content[name] if name in LISTS else [content[name]]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{where}: {name} is {content[name]!r}, and should be "
                             + ('a list of words, such as ["pCR"]' if name in LISTS else "a text"))


def check(made, where):
    """ValueError for words that are both, neither or missing ones."""
    both = set(made.responders) & set(made.non_responders)
    missing = [word for word in (*made.responders, *made.non_responders) if clinical_words.is_missing(word)]
    if both or missing or not made.responders or not made.non_responders:
        raise ValueError(f"{where}: responders {', '.join(made.responders)} and non-responders "
                         f"{', '.join(made.non_responders)}: two lists of different words are needed, none of them a "
                         "word for a missing value")


def add_tissue_option(parser):
    parser.add_argument("--tissue", help="of the slides, a word such as lung: recorded once, in project.json, for the "
                        "report and the model card")


def add_response_options(parser, column=True):
    """--response-column, --responders, --non-responders."""
    if column:
        parser.add_argument("--response-column", metavar="COLUMN",
                            help=f"of clinical.csv, default {COLUMN}; recorded once, in project.json")
    parser.add_argument("--responders", metavar="WORDS", help='words for a response, such as "pCR,RCB-0", default '
                        f"{','.join(RESPONDERS)}; recorded once, in project.json")
    parser.add_argument("--non-responders", metavar="WORDS",
                        help=f"words for none, default {','.join(NON_RESPONDERS)}; recorded once, in project.json")


def said(args):
    """What the options of a command line say, as in the file."""
    given = {name: getattr(args, name, None) for name in Description.__dataclass_fields__}
    return {name: [word.strip() for word in value.split(",") if word.strip()] if name in LISTS else value.strip()
            for name, value in given.items() if value}


def with_options(project, args):
    """What is recorded together with what the options say, as in the file; ValueError where something else is recorded
    and there is no --overwrite."""
    new, made = said(args), read_content(project)
    if not args.overwrite:
        record.refuse_other(project / NAME, {name: made[name] for name in new if name in made},
                            {name: value for name, value in new.items() if name in made},
                            "leave the option out, or replace what is recorded with --overwrite")
    return made | new


def write(project, args):
    """Record what the options say, where they say something new."""
    content = with_options(project, args)
    of_content(content, "the options")
    if content != read_content(project):
        record.write(project / NAME, content)
