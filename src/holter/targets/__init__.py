"""
Ready-made targets for `holter.instrument`, as objects.

Importing them imports none of the components that they are about.
"""

from holter.targets.huggingface import Transformers
from holter.targets.onnx import OnnxRuntime
from holter.targets.openaiclient import OpenAI
from holter.targets.pytorch import Torch
from holter.targets.sklearn import ScikitLearn

__all__ = ["OnnxRuntime", "OpenAI", "ScikitLearn", "Torch", "Transformers"]
