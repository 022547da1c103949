//! Compiles the kernels for architectures, without a device: `kernels FOLDER 80 90 100`.
//!
//! For each it leaves machine code and PTX in the folder, for `ptxas` and `cuobjdump` to look at. NVRTC is needed;
//! `tests/cuda/compile.sh` of the repository gets it.

use conductor_engine::cuda::{Image, Target};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("kernels: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (folder, architectures) = arguments
        .split_first()
        .ok_or("expected a folder and architectures, as in `out 80 90`")?;
    std::fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
    for text in architectures {
        let number: u32 = text
            .parse()
            .map_err(|_| format!("architecture {text}, expected a number such as 90"))?;
        for (target, ending) in [
            (Target::Machine(number), "cubin"),
            (Target::Portable(number), "ptx"),
        ] {
            let image = Image::compile(target).map_err(|error| error.to_string())?;
            // PTX ends with a zero byte for the driver; tools want text.
            let bytes = match target {
                Target::Machine(_) => &image.bytes[..],
                Target::Portable(_) => image.bytes.strip_suffix(&[0]).unwrap_or(&image.bytes),
            };
            let file = Path::new(folder).join(format!("sm_{number}.{ending}"));
            std::fs::write(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))?;
            println!("{target}: {} bytes", bytes.len());
        }
    }
    Ok(())
}
