"""Parametric cartoon faces with seven expressions, the parts of ``make_toy_faces.py``.

``expressions`` (class orders, action units), ``identity`` (who), ``scene`` (nuisance), ``canvas``
(projection and drawing), ``eyes``, ``mouth``, ``head`` (parts of a face), ``render`` (one frame),
``motion`` (a clip over time), ``samples`` (which samples), ``dataset`` (files), ``preview``.
"""
