//! From the device tree to the guest's first instruction.

use core::convert::Infallible;
use core::fmt;

use abi::{DEVICE_TREE_SPAN, RAM_BASE, Status};
use dtoolkit::fdt::Fdt;
use hypervisor::arguments::{ArgumentError, Settings};
use hypervisor::board::{self, Board, BoardError, Cpus, Module};
use hypervisor::guest_tree::Description;
use hypervisor::image::{Image, ImageError};
use hypervisor::psci::Start;
use hypervisor::region::Region;
use log::{LevelFilter, debug, error, info, warn};
use vm::{ConfigError, MemoryRange, VmConfig};
use vmsa::{Ipa, IpaRange};

use super::oracle::Account;
use super::{HOST, Host, REFUSED, end, log as serial_log, vcpus};
use crate::arch::{Ram, RamError, Recorder, features, open_recorder, open_uart, tree_memory};

/// Why there is no guest to run. Displays as one line.
enum Refusal {
    Board(BoardError),
    Argument(ArgumentError<'static>),
    NoTraceChannel,
    Ram(RamError),
    TooLittleRam,
    NoGuest,
    Config(ConfigError<'static>),
    LongArguments(usize),
    Image(ImageError),
    NulInArguments,
    NoVm(Status),
    NotLoaded(Status),
    NotGranted,
}

/// The longest boot arguments that a guest is given, in bytes.
const MAX_ARGUMENTS: usize = 64 << 10;

/// Boots, on the first CPU.
pub(crate) extern "C" fn boot_main() -> ! {
    let Err(refusal) = boot();
    error!("{refusal}");
    end(REFUSED)
}

fn boot() -> Result<Infallible, Refusal> {
    let tree = board::find_tree(tree_memory());
    open_uart(tree.as_ref().ok().and_then(|tree| board::uart(*tree)));
    serial_log::start(LevelFilter::Warn);
    let tree = tree?;
    let board = Board::read(tree)?;
    let settings = Settings::read(board.arguments)?;
    serial_log::start(settings.log);
    plant(settings);
    let recorder = settings.trace.then(|| recorder(tree)).transpose()?;
    let mut ram = Ram::map(&board.memory)?;
    let module = board.module.ok_or(Refusal::NoGuest)?;
    let config = configure(&module, board.random)?;
    check_grant(tree, &board, &config)?;
    let file = ram.borrow(module.region)?;
    let image = Image::read(file, loadable(&config))?;
    let host = make_vm(ram, &board.cpus, recorder, &config)?;
    load(host, &image)?;
    let description =
        Description { ram_bytes: config.ram_bytes, vcpus: board.cpus.affinities().len(), arguments: module.arguments };
    let context = place_tree(host, description)?;
    info!("guest of {} bytes at {} starts at {}", file.len(), module.region, image.entry());
    debug!("{} vCPUs, started with `{}`", description.vcpus, description.arguments);
    vcpus::start(board.cpus, Start { entry: image.entry().0, context: context.0 })
}

/// Chooses the bug that is asked for, in a build that has them.
#[cfg(feature = "armed")]
fn plant(settings: Settings) {
    planted::choose(settings.planted);
    if settings.passes_over_rules {
        planted::pass_over_rules();
    }
}

#[cfg(not(feature = "armed"))]
const fn plant(_: Settings) {}

/// Reads the guest's boot arguments, over what the machine gives and can.
fn configure(module: &Module<'static>, random: u64) -> Result<VmConfig, Refusal> {
    if module.arguments.len() > MAX_ARGUMENTS {
        return Err(Refusal::LongArguments(module.arguments.len()));
    }
    let defaults = VmConfig { seed: random, ..VmConfig::default() };
    let mut config = defaults.with_arguments(module.arguments)?;
    let pa_bits = features().memory.pa_bits;
    if config.ipa_bits > pa_bits {
        warn!("ipa={} is more than this CPU has: {pa_bits} is used", config.ipa_bits);
        config.ipa_bits = pa_bits;
    }
    Ok(config)
}

/// Checks that the device memory that the guest is to have is nobody's, and that the machine can have it.
fn check_grant(tree: Fdt<'_>, board: &Board<'_>, config: &VmConfig) -> Result<(), Refusal> {
    let Some(MemoryRange { start, end }) = config.mmio else { return Ok(()) };
    let is_address = end.0 <= 1 << features().memory.pa_bits;
    if is_address && board::may_grant(tree, &board.memory, Region { start, end }) {
        Ok(())
    } else {
        Err(Refusal::NotGranted)
    }
}

fn recorder(tree: Fdt<'_>) -> Result<Recorder, Refusal> {
    open_recorder(board::virtio_transports(tree)).ok_or(Refusal::NoTraceChannel)
}

fn make_vm(ram: Ram, cpus: &Cpus, recorder: Option<Recorder>, config: &VmConfig) -> Result<&'static Host, Refusal> {
    let system = ram.into_system(cpus.affinities().len(), recorder).ok_or(Refusal::TooLittleRam)?;
    let vm = system.create_vm(config).map_err(|status| {
        Account::close(system.machine());
        Refusal::NoVm(status)
    })?;
    let (frames, bytes) = system.bookkeeping();
    info!("records of {frames} frames take {bytes} bytes");
    Ok(HOST.call_once(|| Host { system, vm }))
}

/// Returns where an image may go: the RAM, but for the device tree.
fn loadable(config: &VmConfig) -> IpaRange {
    IpaRange::new(Ipa(RAM_BASE), config.ram_bytes.saturating_sub(DEVICE_TREE_SPAN))
}

fn load(host: &Host, image: &Image<'_>) -> Result<(), Refusal> {
    for segment in image.segments() {
        host.system.write_ram(host.vm, segment.range.start, segment.bytes).map_err(Refusal::NotLoaded)?;
    }
    Ok(())
}

fn place_tree(host: &Host, description: Description<'_>) -> Result<Ipa, Refusal> {
    let place = Ipa(RAM_BASE).add(description.ram_bytes.saturating_sub(DEVICE_TREE_SPAN));
    // No other error can be: all else in the tree is ours.
    let blob = description.to_blob().map_err(|_| Refusal::NulInArguments)?;
    host.system.write_ram(host.vm, place, &blob).map_err(Refusal::NotLoaded)?;
    Ok(place)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board(error) => error.fmt(f),
            Self::Argument(error) => error.fmt(f),
            Self::NoTraceChannel if cfg!(feature = "unwatched") => {
                f.write_str("trace=on: a build without oracle has no trace")
            }
            Self::NoTraceChannel => f.write_str("trace=on: the machine has no virtio console to write the trace to"),
            Self::Ram(RamError::CannotMap(region)) => write!(f, "the RAM at {region} cannot be mapped"),
            Self::Ram(RamError::TooManyPieces) => f.write_str("the RAM is in more pieces than are kept"),
            Self::Ram(RamError::Taken(region)) => write!(f, "the guest's module at {region} is not in free RAM"),
            Self::TooLittleRam => f.write_str("the machine has too little RAM"),
            Self::NoGuest => f.write_str("there is no guest: QEMU is given one by -device guest-loader"),
            Self::Config(error) => error.fmt(f),
            Self::LongArguments(len) => write!(f, "the guest's boot arguments are {len} bytes: too long"),
            Self::Image(error) => error.fmt(f),
            Self::NoVm(Status::OUT_OF_RANGE) => f.write_str("boot arguments: ram= does not fit in ipa="),
            Self::NoVm(status) => write!(f, "the VM cannot be made: {status}; is quota= too small?"),
            Self::NotGranted => f.write_str(
                "boot arguments: mmio= is RAM, or a device that the hypervisor uses, or no address that there is",
            ),
            Self::NulInArguments => f.write_str("there is a NUL in the guest's boot arguments"),
            Self::NotLoaded(status) => write!(f, "guest image: it cannot be loaded: {status}; is quota= too small?"),
        }
    }
}

macro_rules! refuse_for {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

refuse_for! {
    BoardError => Board,
    ArgumentError<'static> => Argument,
    RamError => Ram,
    ConfigError<'static> => Config,
    ImageError => Image,
}
