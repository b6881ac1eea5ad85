"""Every layer, activation and loss against PyTorch: outputs and gradients, in training and evaluation."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tests.nn.reference import case, check

IDS = np.array([[0, 3, 1, 6], [2, 2, 5, 3]])
CLASSES = np.array([1, 0, 4, 2])
SIGNS = np.where(np.sin(np.arange(20) ** 2).reshape(4, 5) > 0, 1.0, -1.0)

CASES = [
    case("Identity", x=[(2, 3)], expect=[-2.3452947, -2.4999209, 0.0, -2.3452947]),
    case("Linear", 3, 4, x=[(2, 5, 3)], expect=[1.2603938, -1.9534972, -0.4357472, 1.2603938]),
    case("Linear", 3, 4, bias=False, x=[(3,)], expect=[0.2729335, 0.0659972, -0.9571138, 0.2729335]),
    case("Bilinear", 3, 4, 5, x=[(2, 3), (2, 4)], expect=[2.5015761, 3.1365954, -5.0356407, 2.5015761]),
    case("Flatten", x=[(2, 3, 4)], expect=[-8.5236022, -6.3033706, 0.0, -8.5236022]),
    case("Flatten", 0, 1, x=[(2, 3, 4)], expect=[-8.5236022, -6.3033706, 0.0, -8.5236022]),
    case("Unflatten", 1, (2, -1), x=[(2, 6, 4)], expect=[-18.0160365, -16.6362297, 0.0, -18.0160365]),
    case("Conv1d", 4, 6, 3, padding="same", dilation=2, padding_mode="replicate", x=[(2, 4, 9)], expect=[-7.1672232, -5.931679, -1.3871525, -7.1672232]),
    case("Conv1d", 2, 3, 3, x=[(2, 9)], expect=[0.081813, -0.6210997, -10.1450203, 0.081813]),
    case("Conv2d", 4, 6, 3, stride=2, padding=1, groups=2, x=[(2, 4, 7, 6)], expect=[2.1542146, 1.1109425, -5.8755462, 2.1542146]),
    case("Conv2d", 2, 3, (2, 3), padding=(1, 2), bias=False, padding_mode="reflect", x=[(2, 2, 5, 6)], expect=[-9.7564744, -11.7503053, 23.028794, -9.7564744]),
    case("Conv2d", 2, 3, 3, padding=1, padding_mode="circular", x=[(2, 2, 5, 6)], expect=[-10.5663383, -1.8292584, -19.5789125, -10.5663383]),
    case("Conv3d", 2, 3, 2, dilation=2, x=[(1, 2, 5, 4, 6)], expect=[3.0927965, 0.5698775, -0.08369, 3.0927965]),
    case("ConvTranspose1d", 4, 6, 3, stride=2, padding=1, output_padding=1, x=[(2, 4, 5)], expect=[-3.6153494, 4.0915703, -16.4939414, -3.6153494]),
    case("ConvTranspose2d", 4, 6, 3, groups=2, dilation=2, bias=False, x=[(2, 4, 4, 5)], expect=[-0.4898188, 3.9598288, -3.9183694, -0.4898188]),
    case("ConvTranspose2d", 2, 3, 3, stride=2, x=[(1, 2, 4, 4)], call={"output_size": (10, 9)}, expect=[-1.489466, -1.6595203, 21.7154738, -1.489466]),
    case("ConvTranspose3d", 2, 3, 2, stride=2, x=[(1, 2, 3, 2, 3)], expect=[10.7171316, 2.1960352, -24.6297187, 10.7171316]),
    case("MaxPool1d", 2, x=[(2, 3, 7)], expect=[-1.140941, -1.5834924, 0.0, -1.140941]),
    case("MaxPool2d", 3, 2, padding=1, return_indices=True, x=[(2, 3, 7, 6)], expect=[15.1558709, 2.7111999, 0.0, 15.1558709]),
    case("MaxPool3d", 2, ceil_mode=True, x=[(2, 2, 5, 4, 3)], expect=[-3.9691365, -4.2319752, 0.0, -3.9691365]),
    case("MaxUnpool2d", 2, x=[(1, 1, 2, 2), np.array([[[[0, 3], [8, 15]]]])], expect=[0.8688294, -0.0217189, 0.0, 0.8688294]),
    case("AvgPool1d", 3, 2, x=[(2, 3, 7)], expect=[-0.1226261, -0.2568792, 0.0, -0.1226261]),
    case("AvgPool2d", 3, 2, padding=1, count_include_pad=False, x=[(2, 3, 7, 6)], expect=[-0.2077684, 0.2648973, 0.0, -0.2077684]),
    case("AvgPool3d", 2, divisor_override=3, x=[(2, 2, 5, 4, 4)], expect=[0.3846526, 0.3185076, 0.0, 0.3846526]),
    case("LPPool1d", 2, 3, x=[(2, 3, 7)], expect=[-1.1780369, 1.1697152, 0.0, -1.1780369]),
    case("LPPool2d", 2, 2, 1, x=[(2, 3, 4, 5)], expect=[-0.8031127, -1.3417205, 0.0, -0.8031127]),
    case("LPPool3d", 2, 2, x=[(2, 3, 4, 5, 4)], expect=[-3.0102864, -2.6428285, 0.0, -3.0102864]),
    case("AdaptiveAvgPool1d", 3, x=[(2, 3, 7)], expect=[-0.1226261, -0.2568792, 0.0, -0.1226261]),
    case("AdaptiveAvgPool2d", (None, 2), x=[(2, 3, 4, 5)], expect=[-0.3964099, -0.6373551, 0.0, -0.3964099]),
    case("AdaptiveAvgPool3d", 2, x=[(2, 3, 4, 5, 3)], expect=[0.3321244, -0.4868417, 0.0, 0.3321244]),
    case("AdaptiveMaxPool1d", 3, True, x=[(2, 3, 7)], expect=[0.8774288, -1.3128533, 0.0, 0.8774288]),
    case("AdaptiveMaxPool2d", 2, x=[(2, 3, 4, 5)], expect=[0.1663671, 0.5184953, 0.0, 0.1663671]),
    case("AdaptiveMaxPool3d", (1, 2, 3), x=[(2, 3, 4, 5, 3)], expect=[-1.3344773, -1.1749549, 0.0, -1.3344773]),
    case("BatchNorm1d", 3, x=[(4, 3)], expect=[1.6378955, -0.0205068, -3.3712854, 1.4908742]),
    case("BatchNorm1d", 3, momentum=None, x=[(4, 3, 5)], expect=[7.531548, 4.6675635, -4.1250268, 7.3386851]),
    case("BatchNorm2d", 3, momentum=0.3, eps=0.01, x=[(4, 3, 2, 3)], expect=[8.9250951, 6.3511162, -11.388875, 6.5295548]),
    case("BatchNorm2d", 3, affine=False, x=[(4, 3, 2, 3)], expect=[-39.585437, -24.7135688, 0.0, -28.5097973]),
    case("BatchNorm2d", 3, bias=False, x=[(4, 3, 2, 3)], expect=[9.3320405, 6.329472, -11.2103047, 6.4888139]),
    case("BatchNorm3d", 3, track_running_stats=False, x=[(2, 3, 2, 3, 2)], expect=[8.7882054, 5.5305732, -6.9323552, 8.7882054]),
    case("InstanceNorm1d", 3, x=[(3, 5)], expect=[-8.2100297, -6.7377122, 0.0, -8.2100297]),
    case("InstanceNorm2d", 3, affine=True, track_running_stats=True, x=[(2, 3, 4, 3)], expect=[8.7996272, 5.3062116, -7.0694734, 6.3878063]),
    case("InstanceNorm3d", 3, affine=True, x=[(2, 3, 2, 3, 2)], expect=[8.7996272, 5.3062116, -7.0694734, 8.7996272]),
    case("LayerNorm", (3, 4), x=[(2, 3, 4)], expect=[3.1230026, -0.0278154, -5.3296504, 3.1230026]),
    case("LayerNorm", 4, 0.1, bias=False, x=[(2, 3, 4)], expect=[1.2772545, 0.232659, 0.408633, 1.2772545]),
    case("RMSNorm", 4, x=[(2, 3, 4)], expect=[1.4943656, -0.0273185, -0.1209394, 1.4943656]),
    case("RMSNorm", (3, 4), 0.1, False, x=[(2, 3, 4)], expect=[-10.8581124, -5.8143632, 0.0, -10.8581124]),
    case("GroupNorm", 2, 4, x=[(2, 4, 5)], expect=[0.8806776, 2.5405562, -3.162166, 0.8806776]),
    case("GroupNorm", 2, 4, affine=False, x=[(2, 4, 3, 3)], expect=[-39.5197907, -25.4680229, 0.0, -39.5197907]),
    case("LocalResponseNorm", 3, 0.5, x=[(2, 4, 3, 3)], expect=[-23.7754045, -20.3802316, 0.0, -23.7754045]),
    case("Threshold", 0.1, 20.0, x=[(3, 4)], expect=[42.5069818, -1.6029113, 0.0, 42.5069818]),
    case("ReLU", x=[(3, 4)], expect=[-2.5946369, -1.6029113, 0.0, -2.5946369]),
    case("Hardtanh", -0.5, 0.7, x=[(3, 4)], expect=[-3.8317599, -1.2080737, 0.0, -3.8317599]),
    case("ReLU6", x=[(3, 4)], expect=[-2.5946369, -1.6029113, 0.0, -2.5946369]),
    case("Sigmoid", x=[(3, 4)], expect=[-1.631502, -1.2665706, 0.0, -1.631502]),
    case("Hardsigmoid", x=[(3, 4)], expect=[-1.259619, -0.9520281, 0.0, -1.259619]),
    case("Tanh", x=[(3, 4)], expect=[-4.3712197, -3.7678312, 0.0, -4.3712197]),
    case("SiLU", x=[(3, 4)], expect=[-2.6803606, -2.492256, 0.0, -2.6803606]),
    case("Mish", x=[(3, 4)], expect=[-3.1508915, -2.838238, 0.0, -3.1508915]),
    case("Hardswish", x=[(3, 4)], expect=[-2.685559, -2.604456, 0.0, -2.685559]),
    case("ELU", 0.5, x=[(3, 4)], expect=[-3.5430329, -2.8873497, 0.0, -3.5430329]),
    case("CELU", 1.5, x=[(3, 4)], expect=[-4.7375276, -4.5663476, 0.0, -4.7375276]),
    case("SELU", x=[(3, 4)], expect=[-6.0609363, -6.2005212, 0.0, -6.0609363]),
    case("GLU", 1, x=[(3, 4)], expect=[0.3086633, -0.1919007, 0.0, 0.3086633]),
    case("GELU", x=[(3, 4)], expect=[-2.6705735, -2.2972602, 0.0, -2.6705735]),
    case("GELU", "tanh", x=[(3, 4)], expect=[-2.6705594, -2.2974682, 0.0, -2.6705594]),
    case("Hardshrink", x=[(3, 4)], expect=[-5.4683726, -4.4569371, 0.0, -5.4683726]),
    case("LeakyReLU", 0.3, x=[(3, 4)], expect=[-3.4312982, -2.8356885, 0.0, -3.4312982]),
    case("LogSigmoid", x=[(3, 4)], expect=[-2.1945955, -3.0414044, 0.0, -2.1945955]),
    case("Softplus", 2.0, 1.5, x=[(3, 4)], expect=[-2.7220827, -2.7619637, 0.0, -2.7220827]),
    case("Softshrink", 0.3, x=[(3, 4)], expect=[-3.4715031, -4.4569371, 0.0, -3.4715031]),
    case("PReLU", x=[(3, 4)], expect=[-2.7914197, -1.8928605, -1.1091825, -2.7914197]),
    case("PReLU", 4, x=[(3, 4, 2)], expect=[-3.8227449, -2.135403, -1.0899222, -3.8227449]),
    case("Softsign", x=[(3, 4)], expect=[-2.9098417, -2.5596024, 0.0, -2.9098417]),
    case("Tanhshrink", x=[(3, 4)], expect=[-1.012288, -1.9443374, 0.0, -1.012288]),
    case("Softmin", 1, x=[(3, 4)], expect=[1.0807718, 1.3620184, 0.0, 1.0807718]),
    case("Softmax", 0, x=[(3, 4)], expect=[-1.2735618, -1.2900476, 0.0, -1.2735618]),
    case("Softmax2d", x=[(2, 3, 2, 2)], expect=[-1.8741844, -1.7176019, 0.0, -1.8741844]),
    case("LogSoftmax", -1, x=[(3, 4)], expect=[-4.191529, -5.3954759, 0.0, -4.191529]),
    case("Dropout", 0.0, x=[(3, 4)], expect=[-5.3835077, -5.7121686, 0.0, -5.3835077]),
    case("Dropout1d", 1.0, x=[(3, 4, 2)], expect=[0.0, 0.0, 0.0, -8.5236022]),
    case("Dropout2d", 0.0, x=[(3, 4, 2, 2)], expect=[-18.0160365, -16.6362297, 0.0, -18.0160365]),
    case("Dropout3d", 0.0, x=[(3, 4, 2, 2, 1)], expect=[-18.0160365, -16.6362297, 0.0, -18.0160365]),
    case("AlphaDropout", 0.0, x=[(3, 4)], expect=[-5.3835077, -5.7121686, 0.0, -5.3835077]),
    case("FeatureAlphaDropout", 0.0, x=[(3, 4, 2)], expect=[-8.5236022, -6.3033706, 0.0, -8.5236022]),
    case("Embedding", 7, 3, padding_idx=2, x=[IDS], expect=[1.4182622, 0.0, -5.2695018, 1.4182622]),
    case("Embedding", 7, 3, scale_grad_by_freq=True, x=[IDS], expect=[1.4182622, 0.0, -3.9312974, 1.4182622]),
    case("Embedding", 7, 3, max_norm=0.5, norm_type=1.0, x=[IDS], expect=[0.6200915, 0.0, -4.4801536, 0.6200915]),
    case("EmbeddingBag", 7, 3, x=[IDS], expect=[0.4321621, 0.0, -1.1442059, 0.4321621]),
    case("EmbeddingBag", 7, 3, mode="sum", padding_idx=2, x=[IDS], expect=[0.5958246, 0.0, -2.0364522, 0.5958246]),
    case("EmbeddingBag", 7, 3, mode="max", x=[IDS.ravel(), np.array([0, 3, 3])], expect=[-0.3083766, 0.0, -0.5758959, -0.3083766]),
    case("ConstantPad1d", (2, 1), 3.5, x=[(2, 3, 4)], expect=[2.1651515, -2.2754419, 0.0, 2.1651515]),
    case("ConstantPad2d", (1, 0, 2, 1), 3.5, x=[(2, 3, 4)], expect=[-5.8108006, -0.3331337, 0.0, -5.8108006]),
    case("ConstantPad3d", 1, 3.5, x=[(2, 3, 4, 2)], expect=[-19.5969083, 0.2860984, 0.0, -19.5969083]),
    case("ZeroPad1d", 1, x=[(2, 3, 4)], expect=[-1.059496, 0.2808732, 0.0, -1.059496]),
    case("ZeroPad2d", (1, -1, 2, 0), x=[(2, 3, 4)], expect=[-1.058069, -0.1709293, 0.0, -1.058069]),
    case("ZeroPad3d", 1, x=[(2, 3, 4, 2)], expect=[-0.2894549, 0.2860984, 0.0, -0.2894549]),
    case("ReflectionPad1d", (2, 1), x=[(2, 3, 4)], expect=[1.3110127, -2.6881709, 0.0, 1.3110127]),
    case("ReflectionPad2d", 1, x=[(2, 3, 4, 3)], expect=[10.0512828, 4.2303696, 0.0, 10.0512828]),
    case("ReflectionPad3d", 1, x=[(2, 3, 4, 2, 3)], expect=[3.57927, 2.1229404, 0.0, 3.57927]),
    case("ReplicationPad1d", (2, 1), x=[(2, 3, 4)], expect=[-0.2171502, -2.9900916, 0.0, -0.2171502]),
    case("ReplicationPad2d", 2, x=[(2, 3, 4, 3)], expect=[-1.9521647, -12.3133749, 0.0, -1.9521647]),
    case("ReplicationPad3d", 1, x=[(2, 3, 4, 2, 3)], expect=[-5.5108582, -9.801643, 0.0, -5.5108582]),
    case("CircularPad1d", (2, 1), x=[(2, 3, 4)], expect=[3.2676197, 1.117928, 0.0, 3.2676197]),
    case("CircularPad2d", 2, x=[(2, 3, 4, 3)], expect=[-3.7489885, -10.6290004, 0.0, -3.7489885]),
    case("CircularPad3d", 1, x=[(2, 3, 4, 2, 3)], expect=[6.4740153, 22.256991, 0.0, 6.4740153]),
    case("Upsample", scale_factor=2, x=[(2, 3, 4)], expect=[-0.8166274, 0.4873949, 0.0, -0.8166274]),
    case("Upsample", (5, 7), mode="bicubic", x=[(1, 2, 4, 3)], expect=[2.6575358, 1.1541772, 0.0, 2.6575358]),
    case("UpsamplingNearest2d", 5, x=[(1, 2, 4, 3)], expect=[-2.1742628, -0.0510999, 0.0, -2.1742628]),
    case("UpsamplingBilinear2d", scale_factor=2, x=[(1, 2, 4, 3)], expect=[-2.9129019, 0.4073991, 0.0, -2.9129019]),
    case("PixelShuffle", 2, x=[(2, 8, 3, 2)], expect=[1.823541, 4.8536831, 0.0, 1.823541]),
    case("PixelUnshuffle", 2, x=[(2, 2, 4, 6)], expect=[3.6646491, -2.5360057, 0.0, 3.6646491]),
    case("ChannelShuffle", 2, x=[(2, 6, 3)], expect=[-3.7461897, -3.3219587, 0.0, -3.7461897]),
    case("Unfold", (2, 3), padding=1, stride=2, x=[(2, 3, 5, 6)], expect=[8.4686149, 8.7021266, 0.0, 8.4686149]),
    case("Fold", (4, 5), 2, x=[(2, 12, 12)], expect=[1.5338879, -7.1668455, 0.0, 1.5338879]),
    case("CosineSimilarity", 1, x=[(3, 4), (3, 4)], expect=[-0.8811799, -0.2926447, 0.0, -0.8811799]),
    case("PairwiseDistance", 1.0, keepdim=True, x=[(3, 4), (3, 4)], expect=[-3.8697075, -0.7507283, 0.0, -3.8697075]),
    case("L1Loss", x=[(4, 5), (4, 5)], expect=[-0.3602426, -0.4947504, 0.0, -0.3602426]),
    case("MSELoss", reduction="sum", x=[(4, 5), (4, 5)], expect=[-5.8581785, -17.3372733, 0.0, -5.8581785]),
    case("SmoothL1Loss", beta=0.5, x=[(4, 5), (4, 5)], expect=[-0.2433932, -0.5192158, 0.0, -0.2433932]),
    case("HuberLoss", "none", 0.5, x=[(4, 5), (4, 5)], expect=[-0.6062008, -0.4000043, 0.0, -0.6062008]),
    case("NLLLoss", ignore_index=2, x=[(4, 5), CLASSES], expect=[0.2389537, 0.5291199, 0.0, 0.2389537]),
    case("CrossEntropyLoss", x=[(4, 5), CLASSES], expect=[-0.7314119, 0.171622, 0.0, -0.7314119]),
    case("CrossEntropyLoss", label_smoothing=0.1, reduction="sum", x=[(4, 5), CLASSES], expect=[-3.031092, 0.5103453, 0.0, -3.031092]),
    case("CrossEntropyLoss", x=[(4, 5), np.full((4, 5), 0.2)], expect=[-0.995023, -0.2687348, 0.0, -0.995023]),
    case("BCELoss", x=[np.full((4, 5), 0.3), np.full((4, 5), 0.2)], expect=[-0.2862283, -0.0307067, 0.0, -0.2862283]),
    case("BCEWithLogitsLoss", x=[(4, 5), np.full((4, 5), 0.2)], expect=[-0.4200601, -0.0968876, 0.0, -0.4200601]),
    case("KLDivLoss", reduction="batchmean", x=[(4, 5), np.full((4, 5), 0.2)], expect=[0.9103545, 0.0644841, 0.0, 0.9103545]),
    case("PoissonNLLLoss", full=True, x=[(4, 5), np.full((4, 5), 2.5)], expect=[-1.273918, -0.2803548, 0.0, -1.273918]),
    case("GaussianNLLLoss", full=True, x=[(4, 5), (4, 5), np.full((4, 5), 0.3)], expect=[-0.6606102, -1.4447728, 0.0, -0.6606102]),
    case("HingeEmbeddingLoss", x=[(4, 5), SIGNS], expect=[-0.3761477, 0.0737704, 0.0, -0.3761477]),
    case("CosineEmbeddingLoss", 0.1, x=[(4, 5), (4, 5), SIGNS[:, 0]], expect=[-0.1822091, 0.6728896, 0.0, -0.1822091]),
    case("MarginRankingLoss", 0.1, x=[(4, 5), (4, 5), SIGNS], expect=[-0.1763513, -0.2447946, 0.0, -0.1763513]),
    case("SoftMarginLoss", x=[(4, 5), SIGNS], expect=[-0.4119577, -0.1144276, 0.0, -0.4119577]),
    case("MultiLabelMarginLoss", x=[(2, 4), np.array([[1, 2, -1, 0], [3, -1, -1, 0]])], expect=[-0.2436407, 0.1789017, 0.0, -0.2436407]),
    case("MultiLabelSoftMarginLoss", x=[(4, 5), (SIGNS + 1) / 2], expect=[-0.4119577, -0.1144276, 0.0, -0.4119577]),
    case("MultiMarginLoss", 2, 0.5, x=[(4, 5), CLASSES], expect=[-0.1914199, -0.1023722, 0.0, -0.1914199]),
    case("TripletMarginLoss", 0.7, swap=True, x=[(4, 5), (4, 5), (4, 5)], expect=[-0.4567634, -0.2611153, 0.0, -0.4567634]),
    case("TripletMarginWithDistanceLoss", swap=True, x=[(4, 5), (4, 5), (4, 5)], expect=[-0.6199698, -0.2611153, 0.0, -0.6199698]),
    case("AdaptiveLogSoftmaxWithLoss", 4, 12, [3, 7], 2.0, x=[(5, 4), np.array([0, 8, 11, 2, 4])], expect=[3.0287963, 1.8973092, -3.7876262, 3.0287963]),
]  # fmt: skip


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)
def test_agrees_with_pytorch(c):
    check(tg, c)


def test_batch_norm_keeps_running_estimates():
    norm = nn.BatchNorm1d(2, momentum=0.5)
    norm(tg.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert norm.running_mean.tolist() == [1.0, 2.0]
    assert norm.running_var.tolist() == [1.5, 4.5]  # half of 1, and half of the unbiased variance
    assert norm.num_batches_tracked.item() == 1
    norm.eval()(tg.zeros(5, 2))
    assert norm.num_batches_tracked.item() == 1
    norm.reset_running_stats()
    assert norm.running_mean.tolist() == [0.0, 0.0]
    assert norm.num_batches_tracked.item() == 0


def test_batch_norm_without_momentum_takes_the_plain_mean():
    norm = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 2.0, 6.0):
        norm(tg.tensor([[value], [value]]))
    np.testing.assert_allclose(norm.running_mean.tolist(), [3.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "AlphaDropout"])
def test_dropout_acts_in_training_only(name):
    tg.manual_seed(0)
    dropout = getattr(nn, name)(0.5)
    x = tg.ones(50, 40, 1, 1) if name == "Dropout2d" else tg.ones(50, 40, 1)
    changed = (dropout(x) != x).float().mean().item()
    assert changed > 0.4  # what is kept is scaled, what is not is zeroed or shifted
    assert (dropout.eval()(x) == x).all()


def test_dropout_keeps_the_mean_and_passes_its_mask_on_to_the_gradient():
    tg.manual_seed(0)
    x = tg.ones(10000, requires_grad=True)
    out = nn.Dropout(0.25)(x)
    (g,) = tg.autograd.grad(out.sum(), x)
    assert (g == out).all()
    assert abs(out.mean().item() - 1) < 0.03
    assert out.unique().tolist() == [0.0, np.float32(4 / 3)]


def test_channel_dropout_takes_whole_channels():
    tg.manual_seed(0)
    out = nn.Dropout2d(0.5)(tg.ones(8, 16, 3, 3)).reshape(8, 16, 9)
    assert ((out == 0).all(2) | (out == 2).all(2)).all()


def test_rrelu_draws_slopes_in_training_and_takes_their_mean_after():
    tg.manual_seed(0)
    rrelu = nn.RReLU(0.2, 0.4)
    slopes = rrelu(-tg.ones(1000))
    assert -0.4 <= slopes.min().item() < slopes.max().item() <= -0.2
    np.testing.assert_allclose(rrelu.eval()(-tg.ones(3)).tolist(), [-0.3] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "LeakyReLU", "ELU"]
)
def test_inplace_activations_write_over_their_input(name):
    x = tg.tensor([-1.0, 0.5, 2.0])
    expected = getattr(nn, name)()(x).tolist()
    out = getattr(nn, name)(inplace=True)(x)
    assert out is x
    assert x.tolist() == expected


def test_embedding_from_pretrained_is_frozen_and_shares_the_table():
    table = tg.arange(6, dtype=tg.float32).reshape(3, 2)
    embedding = nn.Embedding.from_pretrained(table)
    assert not embedding.weight.requires_grad
    table[1, 0] = 9
    assert embedding(tg.tensor([1])).tolist() == [[9.0, 3.0]]
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False).weight.requires_grad


def test_embedding_padding_starts_as_zeros_and_gets_no_gradient():
    embedding = nn.Embedding(4, 2, padding_idx=-1)
    assert embedding.padding_idx == 3
    assert embedding.weight[3].tolist() == [0.0, 0.0]
    embedding(tg.tensor([3, 1, 3])).sum().backward()
    assert embedding.weight.grad.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]


def test_ctc_loss_of_an_alignment_that_is_certain():
    log_probs = tg.full((3, 1, 3), -1e3)
    for step, label in enumerate((1, 0, 2)):
        log_probs[step, 0, label] = 0.0
    loss = nn.CTCLoss()(log_probs, tg.tensor([[1, 2]]), tg.tensor([3]), tg.tensor([2]))
    assert abs(loss.item()) < 1e-5


def test_a_loss_takes_its_weights_along():
    loss = nn.CrossEntropyLoss(weight=tg.tensor([1.0, 2.0])).double()
    assert loss.weight.dtype is tg.float64
    assert list(loss.state_dict()) == ["weight"]


def test_old_reduction_arguments():
    assert nn.MSELoss(size_average=False).reduction == "sum"
    assert nn.MSELoss(reduce=False).reduction == "none"
    assert nn.MSELoss(True, True, "sum").reduction == "mean"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "in_channels must be divisible"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels must be divisible"),
        (lambda: nn.Conv1d(2, 2, 3, 2, padding="same"), ValueError, "strided"),
        (lambda: nn.Conv1d(2, 2, 3, padding="full"), ValueError, "'full'"),
        (lambda: nn.Conv1d(2, 2, 3, padding_mode="zero"), ValueError, "padding_mode='zero'"),
        (lambda: nn.ConvTranspose1d(2, 2, 3, padding_mode="reflect"), ValueError, "zeros"),
        (
            lambda: nn.ConvTranspose1d(2, 2, 3)(tg.zeros(1, 2, 4), (9,)),
            ValueError,
            r"\[6\] to \[6\]",
        ),
        (lambda: nn.BatchNorm2d(3)(tg.zeros(2, 3)), ValueError, "expected 4D input"),
        (lambda: nn.InstanceNorm1d(3, affine=True)(tg.zeros(2, 4, 5)), ValueError, "num_features"),
        (lambda: nn.GroupNorm(3, 4), ValueError, "divisible"),
        (lambda: nn.Dropout(1.5), ValueError, "between 0 and 1"),
        (lambda: nn.Hardtanh(1, 1), AssertionError, "greater than min_val"),
        (lambda: nn.Softmax2d()(tg.zeros(2)), ValueError, "3D or 4D"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), AssertionError, "within num_embeddings"),
        (lambda: nn.Embedding.from_pretrained(tg.zeros(3)), AssertionError, "2-dimensional"),
        (lambda: nn.Unflatten(1, 3), TypeError, "tuple of ints"),
        (lambda: nn.Bilinear(0, 1, 1), ValueError, "must be > 0"),
        (lambda: nn.MultiMarginLoss(3), ValueError, "p == 1 and p == 2"),
        (lambda: nn.TripletMarginLoss(0), ValueError, "greater than 0"),
        (lambda: nn.CircularPad1d(1)(tg.zeros(2)), ValueError, "2D or 3D"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [5, 3]), ValueError, "increasing"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_adaptive_softmax_is_a_distribution():
    module = nn.AdaptiveLogSoftmaxWithLoss(4, 12, [3, 7], div_value=2.0)
    x, y = tg.randn(6, 4), tg.tensor([0, 3, 6, 7, 11, 2])
    log_prob = module.log_prob(x)
    np.testing.assert_allclose(log_prob.exp().sum(1).tolist(), [1.0] * 6, rtol=1e-5)
    output, loss = module(x, y)
    expected = log_prob.gather(1, y.unsqueeze(1)).squeeze(1)
    np.testing.assert_allclose(output.tolist(), expected.tolist(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss.item(), -expected.mean().item(), rtol=1e-5)
    assert (module.predict(x) == log_prob.argmax(1)).all()


def test_half_and_double_modules_compute_in_their_dtype():
    x = tg.randn(2, 3)
    assert nn.Linear(3, 2, dtype=tg.float64)(x.double()).dtype is tg.float64
    assert nn.Linear(3, 2).half()(x.half()).dtype is tg.float16


def test_modules_on_the_meta_device_have_shapes_only():
    model = nn.Sequential(nn.Linear(3, 4, device="meta"), nn.ReLU())
    assert model(tg.zeros(2, 3, device="meta")).shape == (2, 4)
