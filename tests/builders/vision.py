"""Families of models that see: each a tiny model with its real image processor, saved as published ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as library

from tests.builders import tokenizers
from tests.builders.families import labelled, save, spread

ANIMALS = ["cat", "dog", "fox", "hen", "owl", "pig", "rat"]
THINGS = ["person", "bicycle", "car", "bird"]
SIDE = 32
"""Side of the square images that most of these models see, in pixels."""


def square(side: int = SIDE) -> dict[str, int]:
    """An image processor's fixed size."""
    return {"height": side, "width": side}


def vit_config(**more: Any) -> library.ViTConfig:
    """The config that the ViT families share."""
    return library.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=SIDE,
        patch_size=8,
        **more,
    )


def vit_classifier(folder: Path) -> None:
    """ViT that tells seven animals apart."""
    model = library.ViTForImageClassification(vit_config(**labelled(ANIMALS)))
    save(folder, library.ViTImageProcessorPil(size=square()), spread(model))


def pp_lcnet_classifier(folder: Path) -> None:
    """PP-LCNet that tells seven animals apart, and calls what it thinks of them its last state."""
    config = library.PPLCNetConfig(scale=0.25, class_expand=64, **labelled(ANIMALS))
    processor = library.ViTImageProcessorPil(size=square(64))
    save(folder, processor, spread(library.PPLCNetForImageClassification(config)))


def vit_encoder(folder: Path) -> None:
    """ViT without a head."""
    save(folder, library.ViTImageProcessorPil(size=square()), spread(library.ViTModel(vit_config())))


def dinov2_encoder(folder: Path) -> None:
    """DINOv2 without a head: sees images at their own shape, cropped to a square."""
    config = library.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=28, patch_size=7
    )
    processor = library.BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=square(28))
    save(folder, processor, spread(library.Dinov2Model(config)))


def resnet_config(**more: Any) -> library.ResNetConfig:
    """The config that the ResNet families share, as a backbone too."""
    return library.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], layer_type="basic", **more
    )


def resnet_classifier(folder: Path) -> None:
    """ResNet trained for several labels at once."""
    model = library.ResNetForImageClassification(
        resnet_config(problem_type="multi_label_classification", **labelled(ANIMALS))
    )
    processor = library.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875)
    save(folder, processor, spread(model))


def convnext_config(**more: Any) -> library.ConvNextConfig:
    """The config that the ConvNeXt families share."""
    return library.ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], image_size=SIDE, **more)


def convnext_classifier(folder: Path) -> None:
    """ConvNeXt that tells seven animals apart."""
    processor = library.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.875)
    model = library.ConvNextForImageClassification(convnext_config(**labelled(ANIMALS)))
    save(folder, processor, spread(model))


def yolos(folder: Path) -> None:
    """YOLOS: sees images at their own shape, at most 96 pixels on a side."""
    config = library.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=[48, 64],
        patch_size=8,
        num_detection_tokens=10,
        **labelled(THINGS),
    )
    processor = library.YolosImageProcessorPil(size={"shortest_edge": 48, "longest_edge": 96})
    save(folder, processor, spread(library.YolosForObjectDetection(config)))


def detr_parts() -> dict[str, Any]:
    """What the DETR families share: a ResNet of the library's own as the backbone, two small layers each way."""
    return {
        "backbone_config": resnet_config(out_features=["stage4"]),
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "num_queries": 12,
    }


def detr_processor() -> Any:
    """Scales images to at most 96 pixels on a side, in their own shape."""
    return library.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def detr(folder: Path) -> None:
    """DETR on a ResNet."""
    config = library.DetrConfig(**detr_parts(), **labelled(THINGS))
    save(folder, detr_processor(), spread(library.DetrForObjectDetection(config)))


def conditional_detr(folder: Path) -> None:
    """Conditional DETR on a ResNet: its scores are each label's own probability."""
    config = library.ConditionalDetrConfig(**detr_parts(), **labelled(THINGS))
    processor = library.ConditionalDetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    save(folder, processor, spread(library.ConditionalDetrForObjectDetection(config)))


def rt_detr(folder: Path) -> None:
    """RT-DETR: sees squares, whatever the image's shape."""
    config = library.RTDetrConfig(
        backbone_config=library.RTDetrResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 12, 16, 24],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        encoder_hidden_dim=32,
        encoder_in_channels=[12, 16, 24],
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        d_model=32,
        num_queries=12,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=64,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_denoising=0,
        **labelled(THINGS),
    )
    save(folder, library.RTDetrImageProcessorPil(size=square(64)), spread(library.RTDetrForObjectDetection(config)))


def detr_panoptic(folder: Path) -> None:
    """DETR that outlines what it finds: instances and panoptic."""
    config = library.DetrConfig(
        **{**detr_parts(), "d_model": 64, "encoder_attention_heads": 8, "decoder_attention_heads": 8},
        **labelled(THINGS),
    )
    config.backbone_config.out_features = ["stage1", "stage2", "stage3", "stage4"]
    save(folder, detr_processor(), spread(library.DetrForSegmentation(config)))


def segformer(folder: Path) -> None:
    """Segformer: a label for every pixel."""
    config = library.SegformerConfig(
        hidden_sizes=[8, 12, 16, 24],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **labelled(["sky", "road", "grass", "wall", "water"]),
    )
    processor = library.SegformerImageProcessorPil(size=square(64))
    save(folder, processor, spread(library.SegformerForSemanticSegmentation(config)))


def swin_config(**more: Any) -> library.SwinConfig:
    """The backbone of the mask formers."""
    return library.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        **more,
    )


def mask2former(folder: Path) -> None:
    """Mask2Former on Swin: semantic, instances and panoptic."""
    config = library.Mask2FormerConfig(
        backbone_config=swin_config(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=2,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=8,
        **labelled(THINGS),
    )
    processor = library.Mask2FormerImageProcessorPil(size=square(64), ignore_index=255)
    save(folder, processor, spread(library.Mask2FormerForUniversalSegmentation(config)))


def maskformer(folder: Path) -> None:
    """MaskFormer on Swin with a DETR decoder."""
    config = library.MaskFormerConfig(
        backbone_config=swin_config(),
        decoder_config=library.DetrConfig(
            **{name: value for name, value in detr_parts().items() if name != "backbone_config"}
        ),
        fpn_feature_size=32,
        mask_feature_size=32,
        **labelled(THINGS),
    )
    processor = library.MaskFormerImageProcessorPil(size=square(64), ignore_index=255)
    save(folder, processor, spread(library.MaskFormerForInstanceSegmentation(config)))


def eomt_model() -> Any:
    """EoMT: a ViT that also sees its own queries."""
    config = library.EomtConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        num_blocks=1,
        num_queries=8,
        num_upscale_blocks=1,
        **labelled(THINGS),
    )
    return spread(library.EomtForUniversalSegmentation(config))


def eomt(folder: Path) -> None:
    """EoMT for instances and panoptic: sees the whole image, padded."""
    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    save(folder, library.EomtImageProcessorPil(size=size, do_pad=True), eomt_model())


def eomt_semantic(folder: Path) -> None:
    """EoMT for semantic answers: sees an image in squares that cover each other."""
    size = {"shortest_edge": SIDE, "longest_edge": None}
    save(folder, library.EomtImageProcessorPil(size=size, do_split_image=True), eomt_model())


def dpt(folder: Path) -> None:
    """DPT on ViT: sees images in their own shape, scaled to multiples of 8."""
    config = library.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=SIDE,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        is_hybrid=False,
    )
    save(folder, library.DPTImageProcessorPil(size=square()), spread(library.DPTForDepthEstimation(config)))


def glpn(folder: Path) -> None:
    """GLPN: sees images at their own size."""
    config = library.GLPNConfig(
        hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16
    )
    save(folder, library.GLPNImageProcessorPil(), spread(library.GLPNForDepthEstimation(config)))


def depth_anything(folder: Path) -> None:
    """Depth Anything on DINOv2: keeps the image's shape."""
    config = library.DepthAnythingConfig(
        backbone_config=library.Dinov2Config(
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            mlp_ratio=2,
            image_size=28,
            patch_size=7,
            out_features=["stage1", "stage2", "stage3", "stage4"],
            reshape_hidden_states=False,
            apply_layernorm=True,
        ),
        patch_size=7,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    processor = library.DPTImageProcessorPil(size=square(28), keep_aspect_ratio=True, ensure_multiple_of=7)
    save(folder, processor, spread(library.DepthAnythingForDepthEstimation(config)))


def zoedepth(folder: Path) -> None:
    """ZoeDepth on BEiT: metric depth, the image padded before it is seen."""
    config = library.ZoeDepthConfig(
        backbone_config=library.BeitConfig(
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=SIDE,
            patch_size=8,
            out_features=["stage1", "stage2", "stage3", "stage4"],
            reshape_hidden_states=False,
            use_relative_position_bias=True,
        ),
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_relative_features=16,
        bin_embedding_dim=16,
        num_attractors=[4, 2, 2, 1],
    )
    save(folder, library.ZoeDepthImageProcessorPil(size=square()), spread(library.ZoeDepthForDepthEstimation(config)))


def clip_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """CLIP's kind: every text between a start and an end token; at most 64 tokens."""
    from tokenizers import processors

    tokenizer = tokenizers.byte_level(
        ["!", "<|startoftext|>", "<|endoftext|>"], bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token=pad
    )
    start, end = tokenizer.bos_token, tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, tokenizer.bos_token_id), (end, tokenizer.eos_token_id)]
    )
    tokenizer.model_max_length = 64
    return tokenizer


def towers(tokenizer: Any, **text: Any) -> dict[str, Any]:
    """The two halves that CLIP and its kin share, as config entries."""
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return {
        "text_config": {**small, "vocab_size": len(tokenizer), "max_position_embeddings": 64, **text},
        "vision_config": {**small, "image_size": SIDE, "patch_size": 8},
    }


def clip(folder: Path) -> None:
    """CLIP: its scores add up to 1."""
    tokenizer = clip_tokenizer()
    config = library.CLIPConfig(
        **towers(
            tokenizer,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        projection_dim=16,
    )
    images = library.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square())
    save(folder, library.CLIPProcessor(images, tokenizer), spread(library.CLIPModel(config)))


def siglip(folder: Path) -> None:
    """SigLIP: each score stands for itself; texts are always padded to the model's length."""
    tokenizer = tokenizers.unigram()
    tokenizer.model_max_length = 64
    config = library.SiglipConfig(
        **towers(tokenizer, projection_size=32, pad_token_id=0, bos_token_id=1, eos_token_id=1)
    )
    processor = library.SiglipProcessor(library.SiglipImageProcessorPil(size=square()), tokenizer)
    save(folder, processor, spread(library.SiglipModel(config)))


def owl_tokenizer() -> Any:
    """The tokenizer of both OWLs: texts padded with 0."""
    return clip_tokenizer(pad="!")


def owlvit(folder: Path) -> None:
    """OWL-ViT: sees squares, stretched."""
    tokenizer = owl_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    config = library.OwlViTConfig(**towers(tokenizer, **ids), projection_dim=32)
    images = library.OwlViTImageProcessorPil(size=square(), do_center_crop=False)
    save(folder, library.OwlViTProcessor(images, tokenizer), spread(library.OwlViTForObjectDetection(config)))


def owlv2(folder: Path) -> None:
    """OWLv2: sees squares, padded at the bottom or the right."""
    tokenizer = owl_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    config = library.Owlv2Config(**towers(tokenizer, **ids), projection_dim=32)
    images = library.Owlv2ImageProcessorPil(size=square())
    save(folder, library.Owlv2Processor(images, tokenizer), spread(library.Owlv2ForObjectDetection(config)))


def grounding_dino(folder: Path) -> None:
    """Grounding DINO: reads all labels as one text, and answers with pieces of it."""
    tokenizer = tokenizers.wordpiece()
    config = library.GroundingDinoConfig(
        backbone_config=swin_config(),
        text_config=library.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=2,
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
        num_queries=10,
        max_text_len=64,
    )
    images = library.GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    processor = library.GroundingDinoProcessor(images, tokenizer)
    save(folder, processor, spread(library.GroundingDinoForObjectDetection(config)))


def sam(folder: Path) -> None:
    """SAM: sees squares of 64 pixels, padded at the bottom or the right; masks of a quarter of that."""
    config = library.SamConfig(
        vision_config=library.SamVisionConfig(
            hidden_size=32,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            window_size=4,
            num_pos_feats=8,
            mlp_dim=64,
            global_attn_indexes=[1],
        ),
        prompt_encoder_config=library.SamPromptEncoderConfig(
            hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=library.SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )
    save(folder, library.SamProcessor(sam_images()), spread(library.SamModel(config)))


def sam_images() -> Any:
    """Scales the longer side to 64 pixels."""
    return library.SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size=square(64),
        mask_size={"longest_edge": 32},
        mask_pad_size=square(32),
    )


def sam_hq(folder: Path) -> None:
    """SAM-HQ: the same with finer edges, from what lies between the encoder's layers."""
    config = library.SamHQConfig(
        vision_config=library.SamHQVisionConfig(
            hidden_size=32,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            window_size=4,
            num_pos_feats=8,
            mlp_dim=64,
            global_attn_indexes=[1],
        ),
        prompt_encoder_config=library.SamHQPromptEncoderConfig(
            hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=library.SamHQMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16, vit_dim=32
        ),
    )
    save(folder, library.SamHQProcessor(sam_images()), spread(library.SamHQModel(config)))


FAMILIES: dict[str, Callable[[Path], None]] = {
    "pp_lcnet_classifier": pp_lcnet_classifier,
    "vit_classifier": vit_classifier,
    "vit_encoder": vit_encoder,
    "dinov2_encoder": dinov2_encoder,
    "resnet_classifier": resnet_classifier,
    "convnext_classifier": convnext_classifier,
    "yolos": yolos,
    "detr": detr,
    "conditional_detr": conditional_detr,
    "rt_detr": rt_detr,
    "detr_panoptic": detr_panoptic,
    "segformer": segformer,
    "mask2former": mask2former,
    "maskformer": maskformer,
    "eomt": eomt,
    "eomt_semantic": eomt_semantic,
    "dpt": dpt,
    "glpn": glpn,
    "depth_anything": depth_anything,
    "zoedepth": zoedepth,
    "clip": clip,
    "siglip": siglip,
    "owlvit": owlvit,
    "owlv2": owlv2,
    "grounding_dino": grounding_dino,
    "sam": sam,
    "sam_hq": sam_hq,
}
