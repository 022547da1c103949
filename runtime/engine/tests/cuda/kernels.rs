//! Every kernel against plain Rust. The bound is 0 where the kernel promises the CPU engine's bits: everywhere but in
//! the products of cuBLAS, which promise nothing.

use crate::bench::{Bench, random, view, worst};
use crate::schedule::Dice;
use conductor_engine::cuda::kernels::{
    Attention, Choose, Embed, FEW_MOST, Move, NONE, Norm, Product, Rotate, Store, View,
};
use conductor_engine::kv::{BlockId, KvShape};
use conductor_engine::math::attention::{Context, Heads, attend};
use conductor_engine::math::matrix::Matrix;
use conductor_engine::math::{Workers, angles, frequencies, rms_norm, rotate, swiglu};
use conductor_engine::sampling::Sampling;

fn exact(what: &str, found: &[f32], expected: &[f32]) {
    assert!(
        worst(what, found, expected) <= 0.0,
        "{what}: expected equal bits"
    );
}

#[test]
fn embed_takes_the_columns_of_tokens() {
    let bench = Bench::new();
    let (hidden, vocabulary) = (150, 11);
    let table = random("table", hidden * vocabulary, 1.0);
    let tokens = [3_u32, 10, 0, 3];
    let expected: Vec<f32> = tokens
        .iter()
        .flat_map(|&token| (0..hidden).map(move |i| i * vocabulary + token as usize))
        .map(|i| table[i])
        .collect();
    let (table, ids, out) = (
        bench.put(&table),
        bench.put(&tokens),
        bench.room(expected.len()),
    );
    let embed = Embed {
        table: view(&table),
        tokens: view(&ids),
        out: view(&out),
        rows: 4,
        hidden,
        vocabulary,
    };
    bench.kernels.embed(&bench.stream, &embed).expect("started");
    exact("embed", &bench.get(&out), &expected);
}

#[test]
fn norms_are_those_of_the_cpu_for_all_rows_and_for_picked_ones() {
    let bench = Bench::new();
    for hidden in [5, 64, 333] {
        let (x, weight) = (random("x", 6 * hidden, 3.0), random("w", hidden, 2.0));
        let (on, weights) = (bench.put(&x), bench.put(&weight));
        for picks in [vec![0_u32, 1, 2, 3, 4, 5], vec![5, 2]] {
            let mut expected = vec![0.0; picks.len() * hidden];
            for (row, out) in picks.iter().zip(expected.chunks_mut(hidden)) {
                rms_norm(&x[*row as usize * hidden..][..hidden], &weight, 1e-5, out);
            }
            let (chosen, out) = (bench.put(&picks), bench.room(expected.len()));
            let norm = Norm {
                x: view(&on),
                picks: (picks.len() < 6).then(|| view(&chosen)),
                weight: view(&weights),
                out: view(&out),
                rows: picks.len(),
                hidden,
                epsilon: 1e-5,
            };
            bench
                .kernels
                .rms_norm(&bench.stream, &norm)
                .expect("started");
            exact("rms_norm", &bench.get(&out), &expected);
        }
    }
}

#[test]
fn rotary_embedding_is_that_of_the_cpu() {
    let bench = Bench::new();
    let (rows, heads, half) = (5, 3, 9);
    let mut expected = random("x", rows * heads * 2 * half, 2.0);
    let on = bench.put(&expected);
    let mut turns = Vec::new();
    for position in 1000..1000 + rows {
        angles(position, &frequencies(10_000.0, 2 * half), &mut turns);
    }
    for (row, turns) in expected
        .chunks_mut(heads * 2 * half)
        .zip(turns.chunks(half))
    {
        rotate(row, turns);
    }
    let flat: Vec<f32> = turns
        .iter()
        .flat_map(|&(cosine, sine)| [cosine, sine])
        .collect();
    let turns = bench.put(&flat);
    let call = Rotate {
        x: view(&on),
        angles: view(&turns),
        rows,
        heads,
        half,
    };
    bench.kernels.rotate(&bench.stream, &call).expect("started");
    exact("rotate", &bench.get(&on), &expected);
}

#[test]
fn swiglu_and_exp_are_those_of_the_cpu_over_all_sizes_of_numbers() {
    let bench = Bench::new();
    // Every exponent and sign, beginnings and random rests of the mantissa, and what is special.
    let mut gate: Vec<f32> = (0..1 << 16)
        .map(|i: u32| f32::from_bits(i << 16 | i.wrapping_mul(2_654_435_761) >> 16))
        .chain((0..200_000).map(|i| (i as f32 - 100_000.0) / 900.0))
        .filter(|x| !x.is_nan())
        .collect();
    gate.extend([f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]);
    let up = random("up", gate.len(), 1.0);
    let (on, ups) = (bench.put(&gate), bench.put(&up));
    bench
        .kernels
        .swiglu(&bench.stream, view(&on), view(&ups), gate.len())
        .expect("started");
    let found = bench.get(&on);
    swiglu(&mut gate, &up);
    // Infinity over infinity is no number on either side, with any sign.
    let compared = |(found, expected): (f32, f32)| {
        (!(found.is_nan() && expected.is_nan())).then_some((found, expected))
    };
    let (found, expected): (Vec<f32>, Vec<f32>) =
        found.into_iter().zip(gate).filter_map(compared).unzip();
    exact("swiglu", &found, &expected);
}

#[test]
fn sums_of_rows_are_those_of_the_cpu() {
    let bench = Bench::new();
    let (a, b) = (random("a", 1000, 1.0), random("b", 1000, 1.0));
    let (to, x) = (bench.put(&a), bench.put(&b));
    bench
        .kernels
        .add(&bench.stream, view(&to), view(&x), 1000)
        .expect("started");
    let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    exact("add", &bench.get(&to), &expected);
}

#[test]
fn products_have_the_cpus_bits_whatever_the_batch() {
    let bench = Bench::new();
    for (inputs, outputs) in [(37, 101), (64, 64), (160, 70), (300, 16)] {
        let most = 2 * FEW_MOST + 11;
        let x = random("x", most * inputs, 1.0);
        let matrix = random("m", inputs * outputs, 1.0);
        let transposed: Vec<f32> = (0..outputs * inputs)
            .map(|i| matrix[i % inputs * outputs + i / inputs])
            .collect();
        let mut expected = Vec::new();
        Matrix::pack(&transposed, outputs, inputs).product(
            &x,
            &mut expected,
            &mut Vec::new(),
            &Workers::single(),
        );
        let (on, weights) = (bench.put(&x), bench.put(&matrix));
        for rows in [1, 7, 8, 9, FEW_MOST, FEW_MOST + 1, most] {
            let out = bench.room(rows * outputs);
            let product = Product {
                x: view(&on),
                matrix: view(&weights),
                out: view(&out),
                rows,
                inputs,
                outputs,
            };
            bench
                .kernels
                .product(&bench.stream, &product)
                .expect("started");
            exact("product", &bench.get(&out), &expected[..rows * outputs]);
        }
    }
}

#[test]
fn blocks_are_stored_gathered_and_scattered_where_the_shape_says() {
    let bench = Bench::new();
    let shape = KvShape::new(3, 2, 5, 4).expect("a shape");
    let (blocks, width) = (6_u32, shape.width());
    let mut expected = random("pool", shape.region_bytes(blocks) / 4, 1.0);
    let pool = bench.put(&expected);
    let slots = [9_u32, NONE, 23, 0];
    let (keys, values) = (random("k", 4 * width, 1.0), random("v", 4 * width, 1.0));
    let [keys_on, values_on] = [&keys, &values].map(|numbers| bench.put(numbers));
    let slots_on = bench.put(&slots);
    let store = Store {
        keys: view(&keys_on),
        values: view(&values_on),
        pool: view(&pool),
        slots: view(&slots_on),
        rows: 4,
        shape,
        layer: 1,
    };
    bench
        .kernels
        .store_kv(&bench.stream, &store)
        .expect("started");
    for (row, &slot) in slots.iter().enumerate().filter(|&(_, &slot)| slot != NONE) {
        let (block, token) = (BlockId(slot / 4), slot as usize % 4);
        expected[shape.keys(block, 1, token) / 4..][..width]
            .copy_from_slice(&keys[row * width..][..width]);
        expected[shape.values(block, 1, token) / 4..][..width]
            .copy_from_slice(&values[row * width..][..width]);
    }
    exact("store_kv", &bench.get(&pool), &expected);

    let chosen = [4_u32, 1, 5];
    let (slice, numbers) = (shape.slice_bytes() / 4, 3 * shape.slice_bytes() / 4);
    let (chosen_on, out) = (bench.put(&chosen), bench.room(numbers));
    let part = |contiguous| Move {
        pool: view(&pool),
        contiguous,
        blocks: view(&chosen_on),
        count: 3,
        block_numbers: shape.block_bytes() / 4,
        within: 2 * slice,
        numbers: slice,
    };
    bench
        .kernels
        .gather(&bench.stream, &part(view(&out)))
        .expect("started");
    let slices = chosen.map(|block| shape.slice(BlockId(block), 2).start / 4);
    let gathered: Vec<f32> = slices
        .iter()
        .flat_map(|&at| expected[at..][..slice].to_vec())
        .collect();
    exact("gather_blocks", &bench.get(&out), &gathered);

    let news = random("news", numbers, 1.0);
    let incoming = bench.put(&news);
    bench
        .kernels
        .scatter(&bench.stream, &part(view(&incoming)))
        .expect("started");
    for (&at, news) in slices.iter().zip(news.chunks(slice)) {
        expected[at..][..slice].copy_from_slice(news);
    }
    exact("scatter_blocks", &bench.get(&pool), &expected);
}

/// Attention over blocks in any order, a chunk behind a prefix and single rows, beside the CPU's over rows in order.
#[test]
fn attention_has_the_cpus_bits_in_chunks_behind_a_prefix_and_alone() {
    let bench = Bench::new();
    let mut dice = Dice::new(3);
    for (heads, prefix, rows) in [
        (
            Heads {
                query: 4,
                kv: 2,
                dim: 16,
            },
            0,
            40,
        ),
        (
            Heads {
                query: 6,
                kv: 3,
                dim: 10,
            },
            77,
            37,
        ),
        (
            Heads {
                query: 2,
                kv: 1,
                dim: 128,
            },
            130,
            17,
        ),
        (
            Heads {
                query: 2,
                kv: 2,
                dim: 200,
            },
            9,
            9,
        ),
        (
            Heads {
                query: 1,
                kv: 1,
                dim: 512,
            },
            300,
            5,
        ),
    ] {
        let (seen, size) = (prefix + rows, dice.within(1, 9));
        let shape =
            KvShape::new(2, heads.kv as u32, heads.dim as u32, size as u32).expect("a shape");
        let (keys, values) = (
            random("k", seen * shape.width(), 1.0),
            random("v", seen * shape.width(), 1.0),
        );
        let queries = random("q", rows * heads.query_width(), 1.0);
        let needed = shape.blocks_for(seen);
        let mut table: Vec<u32> = (0..needed as u32 + 2).collect();
        table.reverse();
        table.swap(0, needed / 2);
        // What is not this sequence's, in this layer, are numbers that would be seen.
        let mut pool = vec![f32::NAN; shape.region_bytes(needed as u32 + 2) / 4];
        for position in 0..seen {
            let (block, token) = (BlockId(table[position / size]), position % size);
            let own = position * shape.width()..(position + 1) * shape.width();
            pool[shape.keys(block, 1, token) / 4..][..shape.width()]
                .copy_from_slice(&keys[own.clone()]);
            pool[shape.values(block, 1, token) / 4..][..shape.width()]
                .copy_from_slice(&values[own]);
        }
        let mut expected = vec![0.0; queries.len()];
        let context = Context {
            keys: &keys,
            values: &values,
        };
        attend(
            heads,
            &queries,
            prefix,
            context,
            &mut expected,
            &Workers::single(),
        );
        let pool = bench.put(&pool);
        let (queries, tables) = (
            bench.put(&queries),
            bench.put(&[&[9, 9], &table[..]].concat()),
        );
        let list = |per: usize| -> Vec<u32> {
            let list = |from: usize| {
                [from, per.min(rows - from), prefix + from, 2].map(|number| number as u32)
            };
            (0..rows).step_by(per).flat_map(list).collect()
        };
        let per = if heads.dim <= 160 {
            16
        } else if heads.dim <= 256 {
            8
        } else {
            4
        };
        for (what, per) in [("attend_prefill", per), ("attend_decode", 1)] {
            let lists = list(per);
            let (lists_on, out) = (bench.put(&lists), bench.room(expected.len()));
            let attention = Attention {
                queries: view(&queries),
                pool: view(&pool),
                out: view(&out),
                lists: view(&lists_on),
                count: lists.len() / 4,
                tables: view(&tables),
                heads,
                shape,
                layer: 1,
            };
            match per {
                1 => bench.kernels.attend_decode(&bench.stream, &attention),
                _ => bench.kernels.attend_prefill(&bench.stream, &attention),
            }
            .expect("started");
            exact(what, &bench.get(&out), &expected);
        }
    }
}

#[test]
fn tokens_are_chosen_as_on_the_cpu() {
    let bench = Bench::new();
    let vocabulary = 700;
    let mut rows: Vec<Vec<f32>> = (0..40)
        .map(|row| random(&format!("logits {row}"), vocabulary, 6.0))
        .collect();
    // Equals, numbers that are none, infinities, nothing at all.
    rows[0][13] = 9.0;
    rows[0][600] = 9.0;
    rows[1][650] = f32::NAN;
    rows[2][5] = f32::INFINITY;
    rows[3].fill(f32::NEG_INFINITY);
    rows[4][..650].fill(f32::NEG_INFINITY);
    rows[5].fill(0.5);
    let samplings: Vec<Sampling> = (0..40)
        .map(|row| match row % 3 {
            0 => Sampling::Greedy,
            _ => Sampling::new(0.1 + row as f32 / 20.0, 1.0, row).expect("in range"),
        })
        .collect();
    for position in [7, 1000] {
        let expected: Vec<u32> = rows
            .iter()
            .zip(&samplings)
            .map(|(logits, sampling)| sampling.choose(logits, position).unwrap_or(NONE))
            .collect();
        let temperatures: Vec<f32> = samplings
            .iter()
            .map(|sampling| match sampling {
                Sampling::Greedy => 0.0,
                Sampling::Random { temperature, .. } => *temperature,
            })
            .collect();
        let shares: Vec<f64> = samplings
            .iter()
            .map(|sampling| sampling.share(position))
            .collect();
        let (logits, weights) = (
            bench.put(&rows.concat()),
            bench.room(rows.len() * vocabulary),
        );
        let (temperatures, shares) = (bench.put(&temperatures), bench.put(&shares));
        let tokens = bench.room(rows.len());
        let choose = Choose {
            logits: view(&logits),
            temperatures: view(&temperatures),
            shares: view(&shares),
            weights: View::new(&weights, 0),
            tokens: view(&tokens),
            rows: rows.len(),
            vocabulary,
        };
        bench
            .kernels
            .choose(&bench.stream, &choose)
            .expect("started");
        let found: Vec<u32> = bench.get(&tokens).into_iter().map(f32::to_bits).collect();
        assert_eq!(found, expected);
        println!("choose: {} rows, all tokens equal", rows.len());
    }
}
