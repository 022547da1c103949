//! Least squares of relative errors with coefficients that are not negative.
//!
//! Relative, because a step of 10 ms matters to a user as much as a prefill of 10 s; not negative, because no work
//! gives time back and a profile has no place for it. At most six coefficients: the best of all subsets that may
//! differ from 0 is found by trying each, with its normal equations. Only sums and quotients are used, so a fit is
//! the same bits on every machine.

/// Coefficients `w` that make `sum((row . w / target - 1)^2)` least; `None` if no row is left or a column is all
/// zeros with no answer. A coefficient that nothing asks for is 0.
pub(super) fn relative(rows: &[Vec<f64>], targets: &[f64]) -> Option<Vec<f64>> {
    let width = rows.first()?.len();
    let scaled: Vec<Vec<f64>> = rows
        .iter()
        .zip(targets)
        .map(|(row, target)| row.iter().map(|value| value / target).collect())
        .collect();
    // Columns of equal size: tokens squared beside a constant would eat all digits.
    let size = |j: usize| scaled.iter().map(|row| row[j].abs()).fold(0.0, f64::max);
    let sizes: Vec<f64> = (0..width).map(size).collect();
    let column = |row: &[f64], j: usize| {
        if sizes[j] > 0.0 {
            row[j] / sizes[j]
        } else {
            0.0
        }
    };
    let mut best: Option<(f64, Vec<f64>)> = None;
    for subset in 1_u32..1 << width {
        let chosen: Vec<usize> = (0..width).filter(|j| subset >> j & 1 == 1).collect();
        let product = |i: usize, j: usize| {
            let terms = scaled.iter().map(|row| column(row, i) * column(row, j));
            terms.sum::<f64>()
        };
        let matrix: Vec<Vec<f64>> = chosen
            .iter()
            .map(|&i| chosen.iter().map(|&j| product(i, j)).collect())
            .collect();
        let right: Vec<f64> = chosen
            .iter()
            .map(|&i| scaled.iter().map(|row| column(row, i)).sum())
            .collect();
        let Some(solution) = solve(matrix, right) else {
            continue;
        };
        if solution.iter().any(|value| *value < 0.0) {
            continue;
        }
        let mut weights = vec![0.0; width];
        for (&j, value) in chosen.iter().zip(&solution) {
            weights[j] = value / sizes[j];
        }
        let errors = scaled.iter().map(|row| dot(row, &weights) - 1.0);
        let error: f64 = errors.map(|error| error * error).sum();
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, weights));
        }
    }
    best.map(|(_, weights)| weights)
}

/// Sum of products.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gauss with pivots; `None` if the equations do not say enough.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|&a, &b| matrix[a][i].abs().total_cmp(&matrix[b][i].abs()))?;
        matrix.swap(i, pivot);
        right.swap(i, pivot);
        if matrix[i][i].abs() < 1e-12 {
            return None;
        }
        for k in i + 1..n {
            let factor = matrix[k][i] / matrix[i][i];
            let (above, below) = matrix.split_at_mut(k);
            for (value, above) in below[0].iter_mut().zip(&above[i]) {
                *value -= factor * above;
            }
            right[k] -= factor * right[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| matrix[i][j] * right[j]).sum();
        right[i] = (right[i] - known) / matrix[i][i];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_data_gives_its_coefficients_back() {
        let lengths = [1.0, 512.0, 4_096.0, 131_072.0];
        let rows: Vec<Vec<f64>> = lengths.iter().map(|n| vec![1.0, *n, n * n]).collect();
        let truth = [0.03, 9e-5, 9e-10];
        let targets: Vec<f64> = rows.iter().map(|row| dot(row, &truth)).collect();
        let found = relative(&rows, &targets).expect("four rows, three unknowns");
        for (found, truth) in found.iter().zip(truth) {
            assert!(
                (found / truth - 1.0).abs() < 1e-6,
                "{found} against {truth}"
            );
        }
    }

    #[test]
    fn nothing_is_negative_and_what_is_not_asked_for_is_0() {
        let rows = vec![
            vec![1.0, 1.0, 0.0],
            vec![1.0, 2.0, 0.0],
            vec![1.0, 3.0, 0.0],
        ];
        let found = relative(&rows, &[3.0, 2.0, 1.0]).expect("it falls, which nothing may");
        assert!(found[0] > 0.0 && found.iter().all(|value| *value >= 0.0));
        assert_eq!(found[2].to_bits(), 0.0_f64.to_bits());
        assert!(relative(&[], &[]).is_none());
    }
}
