"""Writes a checkpoint of dreem-track's default model with random weights. Started by speed.py, in dreem's environment.

    python dreem_checkpoint.py CHECKPOINT

Speed does not depend on what the weights know; nothing of kintrack is imported here.
"""

import sys
from pathlib import Path

import dreem
import pytorch_lightning as pl
import yaml
from dreem.models import GTRRunner


def main() -> None:
    pl.seed_everything(0, verbose=False)
    defaults = Path(dreem.__file__).parent / "configs" / "defaults"
    config = yaml.safe_load((defaults / "train.yaml").read_text())["model"]
    config.pop("ckpt_path")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(GTRRunner(model_cfg=config))
    trainer.save_checkpoint(sys.argv[1])


if __name__ == "__main__":
    main()
