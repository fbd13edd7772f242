use towline_codec_macros::Greenpack;

#[derive(Greenpack)]
struct WithoutNumber {
    #[zid(0)]
    first: u32,
    second: u32,
}

#[derive(Greenpack)]
struct Twice {
    #[zid(0)]
    first: u32,
    #[zid(0)]
    second: u32,
}

#[derive(Greenpack)]
struct Gap {
    #[zid(0)]
    first: u32,
    #[zid(2)]
    second: u32,
}

#[derive(Greenpack)]
enum Pair {
    #[zid(0)]
    Two(u32, u32),
}

#[derive(Greenpack)]
#[greenpack(tuples)]
struct Unknown(u32);

fn main() {}
