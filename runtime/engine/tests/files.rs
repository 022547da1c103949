//! Models as files: what is written in each format is the same model when it is read, and damage is an error.

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use conductor_core::rng::Stream;
use conductor_engine::math::matrix::Matrix;
use conductor_engine::model::{Model, tiny};
use conductor_engine::text::TextModel;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 64, "intermediate_size": 160,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
    "eos_token_id": 257}"#;

fn matrix(matrix: &Matrix) -> Tensor {
    let rows: Vec<f32> = (0..matrix.outputs()).flat_map(|o| matrix.row(o)).collect();
    Tensor::from_vec(rows, (matrix.outputs(), matrix.inputs()), &Device::Cpu).expect("a tensor")
}

fn vector(numbers: &[f32]) -> Tensor {
    Tensor::from_slice(numbers, numbers.len(), &Device::Cpu).expect("a tensor")
}

/// Tensors by their names in `model.safetensors`.
fn tensors(model: &Model) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::from([
        (
            "model.embed_tokens.weight".into(),
            matrix(model.embedding()),
        ),
        ("model.norm.weight".into(), vector(model.norm())),
        ("lm_head.weight".into(), matrix(model.head())),
    ]);
    for (index, layer) in model.layers().iter().enumerate() {
        let mut put = |name: &str, tensor| {
            tensors.insert(format!("model.layers.{index}.{name}.weight"), tensor);
        };
        put("input_layernorm", vector(&layer.attention_norm));
        put("post_attention_layernorm", vector(&layer.mlp_norm));
        put("self_attn.q_proj", matrix(&layer.query));
        put("self_attn.k_proj", matrix(&layer.key));
        put("self_attn.v_proj", matrix(&layer.value));
        put("self_attn.o_proj", matrix(&layer.output));
        put("mlp.gate_proj", matrix(&layer.gate));
        put("mlp.up_proj", matrix(&layer.up));
        put("mlp.down_proj", matrix(&layer.down));
    }
    tensors
}

/// A folder with the model `tiny`, in numbers of 32 bits or of 16.
pub(crate) fn folder(precision: DType) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let tensors: HashMap<String, Tensor> = tensors(&tiny::model(1))
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(precision).expect("converts")))
        .collect();
    fs::write(folder.path().join("config.json"), CONFIG).expect("written");
    let path = folder.path().join("model.safetensors");
    candle_core::safetensors::save(&tensors, path).expect("written");
    let tokenizer = tokenizer().to_string(false).expect("JSON");
    fs::write(folder.path().join("tokenizer.json"), tokenizer).expect("written");
    folder
}

/// Bytes and the two marks of ChatML: as many tokens as the model has, so no merges.
fn vocabulary() -> (Vec<String>, Vec<(String, String)>) {
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable();
    let mut tokens: Vec<String> = letters.iter().map(char::to_string).collect();
    tokens.truncate(256);
    tokens.extend(["<|im_start|>".into(), "<|im_end|>".into()]);
    (tokens, Vec::new())
}

pub(crate) fn tokenizer() -> tokenizers::Tokenizer {
    let (tokens, merges) = vocabulary();
    let vocabulary: Vocab = tokens.iter().cloned().zip(0..).collect();
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .build()
        .expect("a model");
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let marks = tokens[256..].iter();
    let marks = marks.map(|mark| tokenizers::AddedToken::from(mark.clone(), true));
    tokenizer.add_special_tokens(marks).expect("added");
    tokenizer
}

/// Rows of heads as llama.cpp stores them: the halves of a head become neighbours.
fn neighbours(tensor: &Tensor, heads: usize) -> Tensor {
    let (outputs, inputs) = tensor.dims2().expect("a matrix");
    let split = (heads, 2, outputs / heads / 2, inputs);
    let turned = tensor
        .reshape(split)
        .and_then(|t| t.transpose(1, 2)?.contiguous());
    turned
        .and_then(|t| t.reshape((outputs, inputs)))
        .expect("turned")
}

/// A GGUF file with the model `tiny`.
pub(crate) fn gguf(folder: &Path, quantised: GgmlDType) -> PathBuf {
    let path = folder.join("model.gguf");
    let mut written = Vec::new();
    for (name, tensor) in tensors(&tiny::model(1)) {
        let parts: Vec<&str> = name
            .trim_start_matches("model.layers.")
            .splitn(2, '.')
            .collect();
        let name = match name.as_str() {
            "model.embed_tokens.weight" => "token_embd.weight".to_owned(),
            "model.norm.weight" => "output_norm.weight".to_owned(),
            "lm_head.weight" => "output.weight".to_owned(),
            _ => {
                let part = match parts[1] {
                    "input_layernorm.weight" => "attn_norm",
                    "post_attention_layernorm.weight" => "ffn_norm",
                    "self_attn.q_proj.weight" => "attn_q",
                    "self_attn.k_proj.weight" => "attn_k",
                    "self_attn.v_proj.weight" => "attn_v",
                    "self_attn.o_proj.weight" => "attn_output",
                    "mlp.gate_proj.weight" => "ffn_gate",
                    "mlp.up_proj.weight" => "ffn_up",
                    "mlp.down_proj.weight" => "ffn_down",
                    other => panic!("{other}"),
                };
                format!("blk.{}.{part}.weight", parts[0])
            }
        };
        let tensor = match name.rsplit('.').nth(1) {
            Some("attn_q") => neighbours(&tensor, 4),
            Some("attn_k") => neighbours(&tensor, 2),
            _ => tensor,
        };
        let kind = match tensor.rank() {
            1 => GgmlDType::F32,
            _ => quantised,
        };
        written.push((name, QTensor::quantize(&tensor, kind).expect("quantises")));
    }
    let (tokens, merges) = vocabulary();
    let strings = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let merges = merges
        .into_iter()
        .map(|(a, b)| format!("{a} {b}"))
        .collect();
    let kinds = (0..tokens.len()).map(|token| Value::I32(if token < 256 { 1 } else { 3 }));
    let kinds = Value::Array(kinds.collect());
    let metadata: [(&str, Value); 16] = [
        ("general.architecture", Value::String("llama".into())),
        ("general.alignment", Value::U32(32)),
        ("llama.embedding_length", Value::U32(64)),
        ("llama.feed_forward_length", Value::U32(160)),
        ("llama.block_count", Value::U32(4)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.head_count_kv", Value::U32(2)),
        ("llama.context_length", Value::U32(1 << 17)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.tokens", strings(tokens)),
        ("tokenizer.ggml.merges", strings(merges)),
        ("tokenizer.ggml.token_type", kinds),
        ("tokenizer.ggml.eos_token_id", Value::U32(257)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        written.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let mut file = fs::File::create(&path).expect("created");
    gguf_file::write(&mut file, &metadata, &tensors).expect("written");
    path
}

/// All weights, as bits, in one order.
fn bits(model: &Model) -> Vec<u32> {
    let numbers = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
    let tensors = tensors(model).into_values();
    tensors
        .flat_map(|tensor| numbers(&tensor).expect("numbers"))
        .map(f32::to_bits)
        .collect()
}

#[test]
fn safetensors_and_gguf_give_the_weights_back() {
    let model = tiny::model(1);
    let folder = folder(DType::F32);
    let read = Model::open(folder.path()).expect("a model");
    assert_eq!(read.config(), model.config());
    assert_eq!(bits(&read), bits(&model));
    let path = gguf(folder.path(), GgmlDType::F32);
    let read = Model::open(&path).expect("a model");
    assert_eq!(read.config(), model.config());
    assert_eq!(bits(&read), bits(&model));
}

#[test]
fn weights_of_other_precisions_become_the_nearest_floats() {
    let model = bits(&tiny::model(1));
    let near = |read: &Model, share: f32| {
        for (found, expected) in bits(read).into_iter().zip(&model) {
            let (found, expected) = (f32::from_bits(found), f32::from_bits(*expected));
            assert!((found - expected).abs() <= share, "{found} for {expected}");
        }
    };
    // Weights reach sqrt(3) times the gain; half of the last of 8 bits, or of 127 steps.
    let folder = folder(DType::BF16);
    near(&Model::open(folder.path()).expect("a model"), 2.0 / 256.0);
    let path = gguf(folder.path(), GgmlDType::Q8_0);
    near(&Model::open(&path).expect("a model"), 2.0 / 127.0);
}

#[test]
fn the_text_side_comes_without_weights() {
    let folder = folder(DType::F32);
    fs::remove_file(folder.path().join("model.safetensors")).expect("removed");
    let tokenizer_config = r#"{"chat_template": "{{ bos_token }}{{ messages[0]['content'] }}",
        "bos_token": {"content": "<|im_start|>"}}"#;
    fs::write(
        folder.path().join("tokenizer_config.json"),
        tokenizer_config,
    )
    .expect("written");
    let generation = r#"{"eos_token_id": [256, 257]}"#;
    fs::write(folder.path().join("generation_config.json"), generation).expect("written");
    let text = TextModel::open(folder.path()).expect("a tokenizer");
    assert_eq!(
        (&*text.ends, text.positions),
        ([257, 256].as_slice(), 1 << 17)
    );
    let message = conductor_engine::text::Message {
        role: "user".into(),
        content: "hé 12".into(),
    };
    let prompt = text
        .template
        .render(std::slice::from_ref(&message))
        .expect("a prompt");
    assert_eq!(prompt, "<|im_start|>hé 12");
    let tokens = text.tokenizer.encode(&prompt, false).expect("tokens");
    assert_eq!((tokens[0], tokens.len()), (256, 7));
    assert_eq!(text.tokenizer.decode(&tokens), "hé 12");
    let path = gguf(folder.path(), GgmlDType::F32);
    let of_gguf = TextModel::open(&path).expect("a tokenizer");
    assert_eq!(of_gguf.tokenizer.encode(&prompt, false), Ok(tokens));
    assert_eq!(*of_gguf.ends, [257]);
    let chat = of_gguf.template.render(&[message]).expect("ChatML");
    assert!(chat.starts_with("<|im_start|>user\nhé 12<|im_end|>\n"));
}

/// What reading says, which must be one line.
fn says(path: &Path) -> String {
    let model = Model::open(path).err().map(|error| error.to_string());
    let text = TextModel::open(path).err().map(|error| error.to_string());
    let said = model.or(text).expect("an error");
    assert!(!said.contains('\n') && said.len() < 400, "{said}");
    said.replace(&path.display().to_string(), "PATH")
}

#[test]
fn what_is_wrong_with_a_folder_is_said() {
    let whole = folder(DType::F32);
    let path = whole.path();
    let spoil = |name: &str, bytes: &[u8], expected: &str| {
        let file = path.join(name);
        let before = fs::read(&file).ok();
        fs::write(&file, bytes).expect("written");
        let said = says(path);
        assert!(
            said.contains(expected) && said.contains(name),
            "{name}: {said}"
        );
        match before {
            Some(before) => fs::write(&file, before).expect("written"),
            None => fs::remove_file(&file).expect("removed"),
        }
    };
    spoil("config.json", b"{", "EOF while parsing");
    spoil("model.safetensors", b"nothing", "expected safetensors");
    spoil("tokenizer.json", b"{}", "expected a tokenizer");
    spoil("tokenizer_config.json", b"[", "expected JSON");
    spoil(
        "tokenizer_config.json",
        br#"{"chat_template": "{% x %}"}"#,
        "unknown statement",
    );
    let larger = CONFIG.replace("160", "161");
    fs::write(path.join("config.json"), larger).expect("written");
    let expected = "PATH/model.safetensors: tensor model.layers.0.mlp.gate_proj.weight: \
                    has sizes [160, 64], expected [161, 64]";
    assert_eq!(says(path), expected);
    fs::write(
        path.join("config.json"),
        CONFIG.replace("hidden_layers\": 4", "hidden_layers\": 5"),
    )
    .expect("written");
    assert!(says(path).contains("tensor model.layers.4.self_attn.q_proj.weight: not in the file"));
    fs::remove_file(path.join("config.json")).expect("removed");
    assert!(
        says(path).starts_with("PATH/config.json: "),
        "{}",
        says(path)
    );
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let whole = folder(DType::F32);
    let gguf = gguf(whole.path(), GgmlDType::F32);
    let stream = Stream::new(1, "damage");
    let files = [
        (gguf.clone(), gguf, 9_000),
        (
            whole.path().join("model.safetensors"),
            whole.path().into(),
            4_000,
        ),
        (
            whole.path().join("tokenizer.json"),
            whole.path().into(),
            6_000,
        ),
        (whole.path().join("config.json"), whole.path().into(), 300),
    ];
    for (file, open, header) in files {
        let bytes = fs::read(&file).expect("read");
        for round in 0..60 {
            let mut damaged = bytes.clone();
            let draw = |counter, bound| stream.below(round * 8 + counter, bound) as usize;
            if draw(0, 4) == 0 {
                damaged.truncate(draw(1, bytes.len() as u64));
            }
            let header = damaged.len().min(header) as u64;
            for change in 0..=draw(2, 2) as u64 {
                let at = draw(3 + change, header.max(1));
                if let Some(byte) = damaged.get_mut(at) {
                    *byte = stream.draw(round * 8 + 6 + change) as u8;
                }
            }
            fs::write(&file, &damaged).expect("written");
            if let Err(error) = Model::open(&open) {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
            if let Err(error) = TextModel::open(&open) {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
        fs::write(&file, bytes).expect("written");
    }
    let (at, bytes) = alignment(&fs::read(whole.path().join("model.gguf")).expect("read"));
    let path = whole.path().join("model.gguf");
    let mut damaged = bytes;
    damaged[at..at + 4].fill(0);
    fs::write(&path, damaged).expect("written");
    assert_eq!(
        says(&path),
        "PATH: general.alignment is 0, expected a power of two"
    );
}

/// Where the value of the alignment stands.
fn alignment(file: &[u8]) -> (usize, Vec<u8>) {
    let key = b"general.alignment";
    let at = file.windows(key.len()).position(|bytes| bytes == key);
    (at.expect("there") + key.len() + 4, file.to_vec())
}
