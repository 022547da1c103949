"""Results in pandas: a table of TTFT by policy from a comparison, or of any metric by the axes of an experiment.

    conductor compare --requests 2000 --out results            # add --parquet with a build that has it
    python3 examples/pandas_results.py results

    conductor experiment run prefill-scheduling --out results
    python3 examples/pandas_results.py results/prefill-scheduling effective_ratio

Needs pandas, and pyarrow for Parquet. Where a table is there as Parquet it is read from there, else from CSV: both hold
the same. experiments/COLUMNS.md says what each column is.
"""

import sys
from pathlib import Path

import pandas as pd


def read(folder: Path, name: str) -> pd.DataFrame:
    """A table of results by its name without ending."""
    parquet = folder / f"{name}.parquet"
    if parquet.is_file():
        return pd.read_parquet(parquet)
    return pd.read_csv(folder / f"{name}.csv")


def compared(folder: Path) -> pd.DataFrame:
    """One row a policy: requests, and how long they waited for their first token."""
    rows = {}
    for run in sorted(path.parent for path in folder.glob("*/requests.csv")) or [folder]:
        requests = read(run, "requests")
        ttft = requests["ttft_s"].dropna()
        rows[run.name] = {
            "requests": len(requests),
            "completed": int((requests["outcome"] == "completed").sum()),
            "ttft_s mean": ttft.mean(),
            "ttft_s p90": ttft.quantile(0.9),
            "hit ratio": requests["hit_tokens"].sum() / requests["input"].sum(),
        }
    return pd.DataFrame(rows).T.sort_values("ttft_s mean")


def experiment(folder: Path, metric: str) -> pd.DataFrame:
    """A metric of an experiment's runs by their axes: mean over seeds, standard deviation, how many seeds."""
    raw = read(folder, "raw")
    if metric not in raw:
        sys.exit(f"{folder}: no metric {metric}; there are: {', '.join(raw.columns)}")
    axes = [column for column in raw.columns if column.startswith("axis ")]
    return raw.groupby(axes, sort=False)[metric].agg(["mean", "std", "count"])


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    is_experiment = (folder / "raw.csv").is_file()
    metric = sys.argv[2] if len(sys.argv) == 3 else "ttft_s.mean"
    table = experiment(folder, metric) if is_experiment else compared(folder)
    print(table.to_string(float_format=lambda number: f"{number:.3f}"))


if __name__ == "__main__":
    main()
