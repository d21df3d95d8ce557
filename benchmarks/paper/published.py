"""The paper's numbers as printed, in percent, and its statements about them that they do not support."""

from collections.abc import Mapping
from types import MappingProxyType

WHITE_BOX = ("Clean", "PGD-20", "PGD-100", "MI-FGSM", "CW", "AA")
BLACK_BOX = ("FGSM", "PGD-20", "TI-FGSM", "MI-FGSM", "DI-FGSM", "VMI-FGSM")

Value = tuple[float, float | None]  # the mean, and what the paper prints after its plus-minus sign
Numbers = Mapping[str, Mapping[str, Value]]  # row -> column -> value

_TABLES = {
    "table-I": """
        SAT    77.59 0.62  45.45 0.35  45.42 0.42  46.32 0.34  43.90 0.63  42.93 0.41
        TRADES 80.52 0.88  49.41 0.44  49.40 0.38  50.02 0.09  47.17 0.46  46.06 0.94
        MART   79.97 0.62  50.59 0.01  50.58 0.02  50.43 0.01  47.39 0.60  46.18 0.18
        SEAT   79.91 0.28  48.79 0.02  48.80 0.02  49.19 0.57  47.42 0.02  45.39 0.01
        F2AT   80.56 0.24  50.65 0.19  50.66 0.18  50.05 0.27  47.81 0.01  46.54 0.27
    """,
    "table-II": """
        SAT    85.61 0.04  46.67 0.03  46.74 0.04  48.05 0.20  47.01 0.15  44.56 2.04
        TRADES 85.45 0.12  51.89 2.00  51.01 2.08  53.41 1.07  52.10 0.14  50.16 1.77
        MART   83.70 0.24  53.96 0.09  53.98 0.11  55.14 0.14  51.31 0.22  49.44 0.03
        SEAT   84.35 0.30  52.73 0.12  52.71 0.13  53.82 0.10  51.96 0.08  50.05 0.05
        F2AT   85.64 0.13  54.32 1.22  54.31 1.26  55.65 1.16  52.39 0.73  50.53 0.07
    """,
    "table-III": """
        SAT    53.64 0.47  24.49 0.13  24.48 0.16  24.97 0.02  23.00 0.01  21.01 0.01
        TRADES 58.54 0.14  29.92 1.25  29.93 1.04  30.27 0.99  27.21 0.39  25.96 0.01
        MART   57.99 0.25  28.89 0.18  28.87 0.20  29.43 0.13  27.10 0.28  25.74 0.25
        SEAT   57.53 0.39  29.95 0.04  29.96 0.05  30.59 0.04  28.52 0.01  26.17 0.01
        F2AT   60.21 0.14  30.29 0.12  30.27 0.13  30.87 0.21  28.89 0.03  26.91 0.01
    """,
    "table-IV": """
        SAT    51.83 0.47  22.55 0.13  22.56 0.16  23.21 0.02  21.26 0.01  19.32 0.03
        TRADES 53.46 0.86  25.98 1.42  26.06 1.38  26.32 1.41  21.90 1.62  21.96 0.49
        MART   51.35 0.02  26.28 0.03  26.26 0.02  26.69 0.01  23.13 0.01  21.81 0.02
        SEAT   53.74 0.88  26.25 0.08  26.21 0.04  26.77 0.13  24.22 0.27  22.49 0.21
        F2AT   54.19 0.79  26.75 0.14  26.78 0.04  27.18 0.02  25.14 0.11  23.24 0.13
    """,
    "table-V": """
        SAT    31.52 1.03  12.78 0.10  12.80 0.11  12.93 0.11  10.48 0.14  9.37 0.17
        TRADES 36.19 0.66  11.89 0.08  11.86 0.08  11.96 0.04  8.51 0.06  8.26 0.21
        MART   33.57 0.36  13.93 1.13  13.93 1.14  14.07 1.14  11.25 0.92  10.39 0.77
        SEAT   35.51 0.04  15.14 0.27  15.16 0.25  15.35 0.19  12.61 0.09  11.37 0.06
        F2AT   40.54 0.03  16.30 1.12  16.32 1.15  16.51 1.12  14.33 0.85  13.13 0.79
    """,
    "table-VI": """
        CIFAR-10/SAT          73.29 72.75 77.47 72.64 73.07 72.47
        CIFAR-10/TRADES       74.06 74.01 78.28 74.85 75.11 74.81
        CIFAR-10/MART         71.45 71.19 75.62 70.90 71.31 70.71
        CIFAR-10/SEAT         69.55 69.17 74.57 68.95 69.38 68.77
        CIFAR-10/F2AT         74.39 74.28 79.02 74.99 74.91 74.86
        CIFAR-100/SAT         38.70 38.57 41.69 38.38 38.64 38.24
        CIFAR-100/TRADES      46.39 46.31 48.48 46.10 46.21 46.07
        CIFAR-100/MART        46.03 46.13 48.24 45.64 45.84 45.66
        CIFAR-100/SEAT        43.82 43.50 46.82 43.42 43.53 43.28
        CIFAR-100/F2AT        46.62 46.81 49.81 46.65 46.71 46.33
    """,
    "table-VII": """
        CIFAR-10/SAT          61.72 61.16 65.92 60.89 61.27 60.48
        CIFAR-10/TRADES       64.96 64.48 68.68 64.29 64.55 64.07
        CIFAR-10/MART         63.50 63.00 67.93 62.78 63.19 62.61
        CIFAR-10/SEAT         63.75 63.17 68.90 63.09 63.49 62.90
        CIFAR-10/F2AT         67.39 66.97 72.44 66.95 67.21 66.78
        CIFAR-100/SAT         37.40 37.15 40.23 37.02 37.26 36.84
        CIFAR-100/TRADES      40.07 39.82 42.52 39.08 39.78 39.45
        CIFAR-100/MART        38.53 38.39 40.51 38.02 38.13 37.92
        CIFAR-100/SEAT        38.80 38.39 41.90 38.22 38.35 37.97
        CIFAR-100/F2AT        40.20 39.99 43.54 39.66 39.88 39.60
        Tiny-ImageNet/SAT     30.77 30.78 30.63 30.75 30.81 30.65
        Tiny-ImageNet/TRADES  35.78 35.81 35.75 35.78 35.79 35.59
        Tiny-ImageNet/MART    33.33 33.39 33.38 33.35 33.39 33.16
        Tiny-ImageNet/SEAT    35.45 35.51 35.55 35.44 35.54 35.45
        Tiny-ImageNet/F2AT    40.55 40.64 40.51 40.43 40.58 40.46
    """,
    "table-VIII": """
        K=2  82.40 49.77 49.78 51.05 48.59 46.18
        K=4  81.66 49.71 49.67 50.57 47.86 45.73
        K=6  81.81 49.59 49.52 50.41 48.07 45.92
        K=8  80.73 50.34 50.31 51.36 48.77 46.66
    """,
}

REMARKS: Mapping[str, str] = MappingProxyType(
    {
        "table-I": "Paper: MART is ahead of F2AT under MI-FGSM (50.43 against 50.05), though the latter is in bold.",
        "table-III": "Paper: the text claims 0.36 points over the next best under PGD-20, the table has 0.34; 0.37 "
        "under AA, the table has 0.74.",
        "table-IV": "Paper: the text claims 3.61 points over SAT under AA, the table has 3.92.",
        "table-VIII": "Paper: K = 2 is F2AT of Table I, which prints 80.56 clean and 46.54 under AA for it.",
        "figure-7": "Paper: Table II less the losses stated in the text of Section V-D; the text gives (iii) the same "
        "clean and PGD losses as (ii).",
    }
)


def _read(name: str, text: str) -> Numbers:
    """Rows of a name and six values, each followed by its deviation in Tables I to V."""
    columns = BLACK_BOX if name in ("table-VI", "table-VII") else WHITE_BOX
    rows = {}
    for line in text.strip().splitlines():
        row, *printed = line.split()
        values = [float(number) for number in printed]
        assert len(values) in (6, 12), line
        means, deviations = (values, [None] * 6) if len(values) == 6 else (values[::2], values[1::2])
        rows[row] = dict(zip(columns, zip(means, deviations, strict=True), strict=True))
    return rows


def _ablations() -> Numbers:
    """Figure 7's bars are not printed as numbers; the text states what each ablation loses."""
    whole = TABLES["table-II"]["F2AT"]
    losses = {
        "F2AT": {"Clean": 0.0, "PGD-20": 0.0, "AA": 0.0},
        "F2AT(i)": {"Clean": 1.80, "PGD-20": 2.26},
        "F2AT(ii)": {"Clean": 1.20, "PGD-20": 1.71, "AA": 0.96},
        "F2AT(iii)": {"Clean": 1.20, "PGD-20": 1.71, "AA": 0.99},
    }
    return {
        row: {column: (round(whole[column][0] - loss, 2), None) for column, loss in columns.items()}
        for row, columns in losses.items()
    }


TABLES: Mapping[str, Numbers] = MappingProxyType({name: _read(name, text) for name, text in _TABLES.items()})

# Experiment -> its numbers. Figure 6 plots those of Tables I and II; the other figures print none.
PUBLISHED: Mapping[str, Numbers] = MappingProxyType(
    {
        **TABLES,
        "figure-6": {
            f"{model}/{row}": {column: columns[column] for column in ("Clean", "PGD-20")}
            for model, table in (("ResNet-18", "table-I"), ("WRN-34-10", "table-II"))
            for row, columns in TABLES[table].items()
        },
        "figure-7": _ablations(),
        "clean-training": {"F2AT": {"Clean": (93.83, None)}},
    }
)
