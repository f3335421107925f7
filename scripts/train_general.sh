#!/bin/sh
# Trains the weights `general` as src/kintrack/weights/general.yaml says, and resumes where it was interrupted.
#
#   scripts/train_general.sh DATA [RUN] [more options of `kintrack train`]
#
# DATA holds boxes/dancetrack (annotations, CC BY 4.0), boxes/bee24 and boxes/gmot (validation only), flies and fish
# (BSD-3, from the tests of talmolab/dreem). The sequences dancetrack0063 to 0097 and all bees and GMOT sequences are
# never learned from; four of those that are for tuning choose the best epoch.
set -eu
data=$1
run=${2:-runs/general}
[ $# -lt 2 ] || shift
shift

train=""
for i in 0005 0007 0019 0025 0035 0041 0043 0047; do train="$train $data/boxes/dancetrack/dancetrack$i"; done
train="$train $data/flies/two_flies.slp $data/flies/three_flies.slp $data/fish/ten_zfish.slp"

val="--val $data/boxes/bee24/BEE2412 --val $data/boxes/gmot/ball-3-FRCNN/gt/gtall.txt"
val="$val --val $data/boxes/dancetrack/dancetrack0063 --val $data/boxes/dancetrack/dancetrack0073"

# shellcheck disable=SC2086  # the lists are made of words on purpose
exec kintrack train $train $val --output "$run" --config general --resume "$@"
