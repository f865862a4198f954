//! What handles allow.
#![expect(missing_docs, reason = "the rights are Zircon's, named as there")]

use bitflags::bitflags;

bitflags! {
    /// What a handle allows to be done with its object (`zx_rights_t`).
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Rights: u32 {
        const DUPLICATE = 1 << 0;
        const TRANSFER = 1 << 1;
        const READ = 1 << 2;
        const WRITE = 1 << 3;
        const EXECUTE = 1 << 4;
        const MAP = 1 << 5;
        const GET_PROPERTY = 1 << 6;
        const SET_PROPERTY = 1 << 7;
        const ENUMERATE = 1 << 8;
        const DESTROY = 1 << 9;
        const SET_POLICY = 1 << 10;
        const GET_POLICY = 1 << 11;
        const SIGNAL = 1 << 12;
        const SIGNAL_PEER = 1 << 13;
        const WAIT = 1 << 14;
        const INSPECT = 1 << 15;
        const MANAGE_JOB = 1 << 16;
        const MANAGE_PROCESS = 1 << 17;
        const MANAGE_THREAD = 1 << 18;
        const APPLY_PROFILE = 1 << 19;
        const MANAGE_SOCKET = 1 << 20;
        const OP_CHILDREN = 1 << 21;
        const RESIZE = 1 << 22;
        const ATTACH_VMO = 1 << 23;
        const MANAGE_VMO = 1 << 24;
        const SAME_RIGHTS = 1 << 31;

        /// What every ordinary object's first handle allows.
        const BASIC = Self::TRANSFER.bits() | Self::DUPLICATE.bits() | Self::WAIT.bits() | Self::INSPECT.bits();
        /// The three that bound what a mapping may allow.
        const ACCESS = Self::READ.bits() | Self::WRITE.bits() | Self::EXECUTE.bits();
        /// A new VMAR's, before the access rights that it was created with.
        const DEFAULT_VMAR = Self::DUPLICATE.bits() | Self::TRANSFER.bits() | Self::INSPECT.bits() | Self::OP_CHILDREN.bits();
        /// A new VMO's; a resizable one has [`Rights::RESIZE`] too.
        const DEFAULT_VMO = Self::BASIC.bits()
            | Self::READ.bits()
            | Self::WRITE.bits()
            | Self::GET_PROPERTY.bits()
            | Self::SET_PROPERTY.bits()
            | Self::MAP.bits()
            | Self::SIGNAL.bits();
        /// A BTI's.
        const DEFAULT_BTI = Self::TRANSFER.bits()
            | Self::DUPLICATE.bits()
            | Self::INSPECT.bits()
            | Self::READ.bits()
            | Self::WRITE.bits()
            | Self::MAP.bits()
            | Self::GET_PROPERTY.bits()
            | Self::SET_PROPERTY.bits();
        /// A VM's (Zircon's guest object).
        const DEFAULT_GUEST = Self::TRANSFER.bits()
            | Self::DUPLICATE.bits()
            | Self::WRITE.bits()
            | Self::INSPECT.bits()
            | Self::MANAGE_THREAD.bits();
    }
}
